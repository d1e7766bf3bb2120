"""The processes of a measurement: the server, its client, and where they run.

What counts first is the CPU time that the *server's* process spends, so the client's
own cost does not matter. For that, both are put on one processor: then all messages of the
client are there when the server's turn comes, as on a server that is busy, whichever of
the two is faster. For throughput and latency each has a processor, if there are two.

They end when the measuring process does, even if that is killed. Read next: measure.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.network.compiled import CannotBuildError, built

FILES = 20_000  # descriptors that a process may have here
PR_SET_PDEATHSIG = 1
CPUCLOCK_SCHED = 2


class SkipError(Exception):
    """This cannot be measured here, and why."""


def with_parent() -> None:
    """In a child before it begins: die when the parent dies; have enough descriptors."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))


class Child:
    """A process that is spoken to by lines, and placed on processors."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=with_parent,
        )
        self.pid = self._process.pid

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")
        return line.strip()

    def ask(self, command: str) -> list[str]:
        """Have it do something, and wait for the answer's words."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self.line().split()

    def place(self, processors: set[int]) -> None:
        """Let all its threads run there only."""
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), processors)

    def cpu_seconds(self) -> float:
        """CPU time so far, of all threads, also of those that have ended."""
        return time.clock_gettime((~self.pid << 3) | CPUCLOCK_SCHED)  # as clock_getcpuclockid(3)

    def resident_bytes(self) -> int:
        """How much memory it has in use."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def server(contender: str, role: str) -> Iterator[tuple[Child, int]]:
    """A server, and its port.

    Raises:
        SkipError: That contender cannot serve here.
    """
    child = Child([sys.executable, "-m", "benchmarks.network.server", contender, role])
    try:
        word, _, rest = child.line().partition(" ")
        if word == "skip":
            raise SkipError(rest)
        yield child, int(word)
    finally:
        child.stop()


@contextlib.contextmanager
def client(port: int, size: int) -> Iterator[Child]:
    """The client of the echo: in C if there is a compiler."""
    try:
        command = [str(built("client"))]
    except (CannotBuildError, OSError):  # the cache folder may not be writable
        command = [sys.executable, "-m", "benchmarks.network.client"]
    child = Child([*command, str(port), str(size)])
    try:
        yield child
    finally:
        child.stop()


def processors() -> tuple[int, int]:
    """One for the server and one for the client; the same one twice if there is no other."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


def need_descriptors(number: int) -> None:
    """Skip if a process may not have so many."""
    most = min(FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    if number + 50 > most:
        raise SkipError(f"{number} connections, and {most} descriptors")
