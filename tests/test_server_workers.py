"""The echo server's workers are replaced under load, and it works with systemd.

The clients are a process of their own (loadclients.py) that has nothing of this library
in it: 200 at once, which connect, exchange some messages, close, and begin again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from helpers import ROOT
from programs import Server

CLIENTS = 200


# replacing workers


def children(server: Server) -> set[int]:
    """The processes that a server has started."""
    text = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return {int(pid) for pid in text.split()}


class Load:
    """The 200 clients, from when all of them have had a conversation."""

    def __init__(self, server: Server) -> None:
        script = str(Path(__file__).parent / "loadclients.py")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, script, server.host, str(server.port), str(CLIENTS)],
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "busy\n"

    def end(self) -> dict[str, Any]:
        """Have them finish: how many conversations there were, and the errors."""
        told, _ = self.process.communicate(timeout=60)
        found: dict[str, Any] = json.loads(told)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()


def replace_all(server: Server) -> None:
    """One SIGHUP, and wait until all workers are others."""
    before = children(server)
    server.signal(signal.SIGHUP)
    until = time.monotonic() + 60
    while before & (now := children(server)) or len(now) != 2:
        assert time.monotonic() < until, f"the workers were {before}, and are {now}"
        time.sleep(0.02)


def test_workers_are_replaced_under_the_load_of_200_clients_and_none_of_them_notices():
    with Server("echo", "--workers", "2", check=False) as server, Load(server) as load:
        assert len(children(server)) == 2
        for _ in range(4):
            replace_all(server)
            time.sleep(0.3)
        told = load.end()
        assert told["errors"] == []
        assert told["conversations"] > 5 * CLIENTS
        server.stop()


def test_signals_that_come_faster_than_workers_are_replaced_disturb_nobody():
    with Server("echo", "--workers", "2", check=False) as server, Load(server) as load:
        for _ in range(50):
            server.signal(signal.SIGHUP)
            time.sleep(0.02)
        replace_all(server)
        assert load.end()["errors"] == []
        server.stop()


def test_a_conversation_that_is_under_way_is_finished_by_the_worker_that_began_it():
    with Server("echo", "--workers", "2") as server:
        with socket.create_connection((server.host, server.port), timeout=20) as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
            before = children(server)
            server.signal(signal.SIGHUP)
            server.settles(lambda: bool(children(server) - before), True)
            sock.sendall(b"still here")
            assert sock.recv(100) == b"still here"
        server.settles(lambda: children(server) & before, set())
        server.stop()


# systemd

AS_SYSTEMD_DOES = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-W", "default", "-m", *sys.argv[2:]])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_started_by_systemd_it_serves_the_socket_it_is_given_and_tells_how_it_is(workers, tmp_path):
    path = str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        notified.bind(path)
        notified.settimeout(20)
        with started_by_systemd(listener, path, "--workers", workers) as process:
            messages = [notified.recv(100)]
            assert messages == [b"READY=1"]
            with socket.create_connection(listener.getsockname(), timeout=20) as sock:
                sock.sendall(b"hello")
                assert sock.recv(100) == b"hello"
            process.send_signal(signal.SIGTERM)
            out, errors = process.communicate(timeout=20)
            assert (process.returncode, errors) == (0, "")
            assert out == "listening on {}:{}\n".format(*listener.getsockname())
            notified.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    messages.append(notified.recv(100))
    assert set(messages) == {b"READY=1", b"STOPPING=1"}


@contextlib.contextmanager
def started_by_systemd(listener: socket.socket, path: str, *options: str) -> Iterator[Any]:
    """The server with descriptor 3 listening, and the variables that systemd sets."""
    number = str(listener.fileno())
    pipe: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [sys.executable, "-c", AS_SYSTEMD_DOES, number, "examples.servers.echo", *options],
        pass_fds=[listener.fileno()],
        cwd=ROOT,
        env={**os.environ, "NOTIFY_SOCKET": path},
        **pipe,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
