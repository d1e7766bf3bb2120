"""Servers under test, as their users run them: as programs, on a free port.

A server must say where it listens, end by SIGTERM with exit code 0, and have written
nothing on the standard error, where warnings would show as well: a socket or a task that
was left behind is one.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from helpers import ROOT

PACKAGES = {
    "ab": "apache2-utils",
    "chromium": "chromium",
    "curl": "curl",
    "nc": "netcat-openbsd",
    "openssl": "openssl",
    "redis-benchmark": "redis-tools",
    "redis-cli": "redis-tools",
    "wrk": "wrk",
}


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed, and say what to install."""
    return pytest.mark.skipif(
        shutil.which(program) is None,
        reason=f"{program} is not installed: apt-get install {PACKAGES[program]}",
    )


def tool(*command: str, seconds: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that is not ours to its end; its output as text."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=False, **options
    )


def until_asleep(pid: int) -> None:
    """Wait until the process waits for something: what it opens for that is open then."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return  # it is gone; or there is no /proc, and nothing that looks there
        if state in "SZ":
            return
        time.sleep(0.01)


@contextlib.contextmanager
def handed_over(name: str, address: Any, *arguments: str) -> Iterator[Callable[[], str]]:
    """An example server that is given its listening socket, as systemd does it.

    Args:
        name: The module.
        address: Of the socket: a path, or a host and a port.
        *arguments: Its options.

    Yields:
        What returns what it has written to the standard error so far.
    """
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as listener, tempfile.TemporaryFile("w+") as errors:
        listener.bind(address if isinstance(address, tuple) else str(address))
        listener.listen()
        code = f"import os, sys; os.dup2({listener.fileno()}, 3); "
        code += "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
        code += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        command = ["-c", code, "-W", "default", "-m", f"examples.servers.{name}", *arguments]
        with subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            pass_fds=(listener.fileno(), 3),
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().startswith(b"listening on ")
                yield lambda: os.pread(errors.fileno(), 1 << 20, 0).decode()
            finally:
                process.kill()


class Server:
    """An example server in a process of its own.

    Attributes:
        host, port: Where it listens (of the first address).
        addresses: All lines "listening on", without these words.
    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        listening: int = 1,
        check: bool = True,
        **environment: str,
    ) -> None:
        """Start ``examples.servers.NAME`` with ``--port 0``, and wait until it listens.

        Args:
            name: The module.
            *arguments: Its options.
            listening: On how many addresses it says that it listens.
            check: Whether the kernel checks its invariants.
            **environment: Variables for it.
        """
        environment = {
            **os.environ, "MICROTHREADS_DEBUG": "1" if check else "0", **environment
        }  # fmt: skip
        self.errors = tempfile.TemporaryFile("w+")  # a pipe that nobody reads could fill up
        self.process = subprocess.Popen(
            [sys.executable, "-W", "default", "-m", f"examples.servers.{name}"]
            + ["--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        self.pid = self.process.pid
        try:
            self.addresses = [self._address() for _ in range(listening)]
        except BaseException:
            self.kill()
            raise
        until_asleep(self.pid)
        self.host, _, port = self.addresses[0].rpartition(":")
        self.host = self.host.strip("[]")
        self.port = int(port) if port.isdecimal() else 0

    def _address(self) -> str:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 30)
        line = self.process.stdout.readline() if readable else "nothing in 30 s"
        found = re.fullmatch(r"listening on (.+)\n", line)
        assert found, f"the server said {line!r}; {self.stderr()}"
        return found[1]

    @property
    def url(self) -> str:
        return f"http://{self.addresses[0]}"

    def stderr(self) -> str:
        number = self.errors.fileno()  # whose position the server shares: leave it alone
        return os.pread(number, os.fstat(number).st_size, 0).decode()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, seconds: float = 30) -> None:
        """End it as its users do; it must end well, and have had nothing to say."""
        self.signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        assert (code, self.stderr()) == (0, "")

    def kill(self) -> None:
        """End it in any case, and what it has started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Meanwhile it stands still: all that is sent to it is there when it goes on."""
        self.signal(signal.SIGSTOP)
        try:
            while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
                time.sleep(0.001)
            yield
        finally:
            self.signal(signal.SIGCONT)

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Its resident memory, in bytes."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def settles(self, what: Any, value: Any, seconds: float = 20) -> None:
        """Wait until ``what()`` is `value`; fail if it does not come to that."""
        until = time.monotonic() + seconds
        while (found := what()) != value and time.monotonic() < until:
            time.sleep(0.05)
        assert found == value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        self.errors.close()
