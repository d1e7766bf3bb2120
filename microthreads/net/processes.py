"""Processes: a worker as seen from outside, and what a fork needs around it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Self
from weakref import WeakSet

from microthreads.errors import ClosedError
from microthreads.kernel import Descriptor, now
from microthreads.net.sockets import Socket
from microthreads.select import select
from microthreads.spelling import any_spelling
from microthreads.sync import Event

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # in the moment of the fork


class Life(Descriptor):
    """The life of a process: `readable` waits for its end."""

    __slots__ = ()

    def __init__(self, pid: int) -> None:
        super().__init__(os.pidfd_open(pid))

    def close(self) -> None:
        """Look no more. A plain call."""
        number = self.fileno()
        self.detach()
        os.close(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Worker:
    """A process that serves, seen from the one that looks after it.

    Attributes:
        number: That of its place, from 1.
        heard: When it was last heard of, on the kernel's clock.
        accepts: Set while it accepts clients, as it has said.
        gone: Set when it has ended.
    """

    def __init__(self, pid: int, number: int, link: Socket) -> None:
        self.pid = pid
        self.number = number
        self.link = link
        links.add(link)
        self.life = Life(pid)
        self.began = self.heard = now()
        self.accepts = Event()
        self.gone = Event()

    @any_spelling
    async def hear(self) -> bytes:
        """Wait for words of the worker; nothing if there will be none any more.

        That its end of the link is closed does not tell: a child of its own may have a copy.
        """
        try:
            won = await select(self.link.recv(), self.life.readable())
        except (ConnectionError, ClosedError):
            return b""
        return won[1] if won[0] == 0 else b""

    @any_spelling
    async def ended(self) -> str:
        """Wait until the process has ended; returns how it did."""
        await self.life.readable()
        self.life.close()
        self.link.close()
        self.gone.set()
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return "ended"  # SIGCHLD is ignored, or somebody else has seen to it
        return described(os.waitstatus_to_exitcode(status))

    def tell(self, word: bytes, number: int) -> None:
        """Tell it something of another worker. A plain call."""
        if not self.gone.is_set():
            say(self.link, b"%b%d\n" % (word, number))

    def finish(self) -> None:
        """Have it finish: it reads the end of its link. A plain call."""
        if not self.gone.is_set():
            self.link.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it at once. A plain call."""
        if not self.gone.is_set():
            signal.pidfd_send_signal(self.life.fileno(), signal.SIGKILL)

    def __str__(self) -> str:
        return f"worker {self.pid}"


def described(code: int) -> str:
    """How a process ended, by its exit code: that of a signal is negative."""
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"  # a real-time signal


links: WeakSet[Socket] = WeakSet()
"""This process's ends of all links. A forked child must not hold one: while it lives, no
worker would see that this process has ended."""


def close_links() -> None:
    """In a forked child: let go of the links."""
    for link in links:
        link.sock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=close_links)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Let no signal come in this block: it would be unclear to which of two processes."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_go(descriptors: set[int]) -> None:
    """In a forked child: let go of what the parent's kernel waits for, which is not this one's.

    Sockets that a child holds as well are not closed when the parent closes them: their
    clients would see no end. The numbers stay taken, by nothing: objects that own them may
    still come to close them.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in descriptors - {nothing}:
        with contextlib.suppress(OSError):
            os.fstat(number)
            os.dup2(nothing, number, inheritable=False)
    os.close(nothing)


def say(link: Socket, words: bytes) -> None:
    """Say something through the link, if somebody is there to hear it. A plain call."""
    with contextlib.suppress(OSError):  # who looked after this process has ended
        link.sock.send(words)


def flush() -> None:
    """Write what is in the buffers of the standard streams, which a fork would copy."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # there is none, or it is closed
            stream.flush()


def check_system() -> None:
    """Refuse to have workers where they cannot be looked after.

    Raises:
        RuntimeError: This is not the main thread, or not Linux 5.3 or later.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a kernel with workers needs signals: run it in the main thread")
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        raise RuntimeError(
            "workers need a system with fork() and pidfd_open(), as Linux has from 5.3 on: "
            "use workers=1 here"
        ) from None
