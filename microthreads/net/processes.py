"""Processes: a worker as seen from outside, and what a fork needs around it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

from microthreads.errors import ClosedError
from microthreads.kernel import Descriptor, any_spelling, now
from microthreads.net.sockets import Socket
from microthreads.sync import Event

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # in the moment of the fork


class Worker:
    """A process that serves, seen from the one that looks after it.

    Attributes:
        accepts: Set when it has said that it accepts clients.
        gone: Set when it has ended.
    """

    def __init__(self, pid: int, link: Socket) -> None:
        self.pid = pid
        self.link = link
        self.life = Descriptor(os.pidfd_open(pid))  # readable when the process has ended
        self.began = now()
        self.accepts = Event()
        self.gone = Event()

    @any_spelling
    async def hear(self) -> bytes:
        """Wait for a word of the worker; nothing if there will be none any more."""
        try:
            return await self.link.recv()
        except (ConnectionError, ClosedError):
            return b""

    @any_spelling
    async def ended(self) -> str:
        """Wait until the process has ended; returns how it did."""
        await self.life.readable()
        number = self.life.fileno()
        self.life.detach()
        os.close(number)
        self.link.close()
        self.gone.set()
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return "ended"  # SIGCHLD is ignored, or somebody else has seen to it
        code = os.waitstatus_to_exitcode(status)
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

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


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Let no signal come in this block: it would be unclear to which of two processes."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def say(link: Socket) -> None:
    """Say a word through the link, if somebody is there to hear it. A plain call."""
    with contextlib.suppress(OSError):  # who looked after this process has ended
        link.sock.send(b"!")


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
