"""The chat's client for the terminal, in pipes and on a terminal; and its load, with few clients."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from helpers import ROOT
from programs import Server

SUMMARY = re.compile(r"lost: (\d+); out of order: (\d+)\n")
CLIENT = [sys.executable, "-W", "error", "-m", "examples.servers.chat.client"]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("chat", "--grace", "3") as server:
        yield server
        server.stop()


class Terminal:
    """The client on a terminal, or in pipes."""

    def __init__(self, server: Server, name: str, on_terminal: bool, room: str = "lobby") -> None:
        self.near, far = pty.openpty() if on_terminal else (None, None)
        self.process = subprocess.Popen(
            [*CLIENT, "--port", str(server.port), "--name", name, "--room", room],
            stdin=far if on_terminal else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        if far is not None:
            os.close(far)
        self.said = ""

    def type(self, text: str) -> None:
        if self.near is not None:
            os.write(self.near, text.encode())
        else:
            assert self.process.stdin is not None
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()

    def until(self, text: str) -> None:
        """Wait until it has printed something."""
        assert self.process.stdout is not None
        end = time.monotonic() + 20
        while text not in self.said:
            readable, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            data = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            assert data, f"{text!r} is not in {self.said!r}"
            self.said += data.decode()

    def end(self) -> tuple[int, str]:
        """Wait for its end: the code, and what it complained about."""
        out, errors = self.process.communicate(timeout=20)
        self.said += out.decode()
        return self.process.returncode, errors.decode()

    def dispose(self) -> None:
        self.process.kill()
        self.process.communicate()
        if self.near is not None:
            os.close(self.near)


@pytest.fixture(params=["terminal", "pipe"])
def terminal(request, server):
    """Start a client."""
    with contextlib.ExitStack() as stack:

        def terminal(name: str, **options: str) -> Terminal:
            client = Terminal(server, name, request.param == "terminal", **options)
            stack.callback(client.dispose)
            client.until("*")
            return client

        yield terminal


def test_two_clients_talk_and_one_leaves(terminal):
    ann, bob = terminal("ann"), terminal("bob")
    ann.until("* bob has joined\n")
    bob.type("hello\n")
    ann.until(" bob: hello\n")
    ann.type("/who\nhi \x1b[31mred\n/nick eve\n")
    ann.until("* 2 here: ann, bob\n")
    ann.until("* there are /who and /quit; a name cannot be changed while one is in\n")
    bob.until(" ann: hi \N{REPLACEMENT CHARACTER}[31mred\n")
    bob.type("/quit\n")
    assert bob.end() == (0, "")
    ann.until("* bob has left\n")


def test_the_end_of_the_input_leaves_when_all_is_said(terminal):
    ann, bob = terminal("ann"), terminal("bob")
    bob.type("one\ntwo\n")
    if bob.near is not None:
        bob.type("\x04")
    else:
        bob.process.stdin.close()
        bob.process.stdin = None
    assert bob.end() == (0, "")
    ann.until(" bob: two\n")
    ann.until("* bob has left\n")


def test_ctrl_c_ends_it_at_once_and_quietly(terminal):
    ann, bob = terminal("ann"), terminal("bob")
    bob.process.send_signal(signal.SIGINT)
    assert bob.end() == (130, "")
    ann.until("* bob has left\n")


def test_a_taken_name_and_a_stop_are_told(terminal, server):
    ann, again = terminal("ann"), terminal("ann")
    assert again.end() == (1, "")
    assert "* somebody in lobby is called ann already\n" in again.said
    server.stop()
    assert ann.end() == (1, "")
    assert "* the connection is closed" in ann.said


def once(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLIENT, *arguments], input=text, capture_output=True, text=True, cwd=ROOT, timeout=30
    )


def test_a_file_and_a_last_line_without_an_end_are_said(server, tmp_path):
    file = tmp_path / "said"
    file.write_bytes(b"from a file\n\xff\nlast")
    with file.open() as opened:
        done = subprocess.run(
            [*CLIENT, "--port", str(server.port), "--name", "ann"],
            stdin=opened,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=30,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"ann: (.*)", done.stdout) == ["from a file", "\ufffd", "last"]


def test_no_server_is_told():
    done = once("--port", "1", "--name", "ann")
    assert done.returncode == 1
    assert re.fullmatch(r"chat: .*refused\n", done.stderr)


def load(server: Server, *arguments: str, seconds: float = 60) -> str:
    command = [sys.executable, "-W", "error", "-m", "examples.servers.chat.load"]
    done = subprocess.run(
        [*command, "--port", str(server.port), "--pid", str(server.pid), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=seconds,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert SUMMARY.search(done.stdout).groups() == ("0", "0")
    return done.stdout


def test_nothing_is_lost_of_what_300_clients_say():
    with Server("chat", check=False) as server:
        said = load(server, "--clients", "300", "--rooms", "10", "--seconds", "3")
        assert "9,000 deliveries" in said
        server.stop()


def test_a_lost_connection_makes_the_load_fail():
    with Server("chat", "--grace", "1", check=False) as server:
        command = [sys.executable, "-m", "examples.servers.chat.load", "--clients", "10"]
        process = subprocess.Popen(
            [*command, "--rooms", "2", "--rate", "10", "--port", str(server.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout.readline().startswith("10 clients are in")
        server.stop()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "was sent away" in errors


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_nothing_is_lost_of_what_10_000_clients_say():
    with Server("chat", check=False) as server:
        said = load(server, "--clients", "10000", seconds=540)
        print(said)
        server.stop(60)
