"""A world with no outside: no descriptors, no sockets, no work in other threads.

What an explored program does must depend on its schedule alone. So its kernel
gets a poller that watches nothing (a kernel that never waits looks for Ctrl-C in
its inbox by itself), and a network that has no sockets. A program that asks for
more is told so; one that waits for ever for what cannot come is stopped, since no
`run` would return.
"""

from __future__ import annotations

from typing import Any, NoReturn

from microthreads.kernel import SystemCall, running_kernel
from microthreads.runtime.inbox import Inbox
from microthreads.runtime.snapshots import take

REAL_WORLD = (
    "an explored program runs in a simulated world, which has no sockets and no descriptors: "
    "use channels there in their place"
)


class Stopped(BaseException):
    """An execution was given up; its text says why. Raised in the kernel, never in a task."""


class NoDescriptors:
    """The poller of a world where nothing comes from outside but Ctrl-C."""

    name = "simulated"

    def __init__(self) -> None:
        self.armed = 0

    def watch(self, descriptor: Any) -> None:
        if not isinstance(descriptor.reading.first, Inbox):
            raise RuntimeError(REAL_WORLD)

    def forget(self, descriptor: Any) -> None:
        pass  # it was never watched

    def probe(self, fd: int, write: bool) -> NoReturn:
        raise RuntimeError(REAL_WORLD)

    def poll(self, seconds: float | None) -> list[SystemCall[Any]]:
        if seconds is None:
            kernel = running_kernel()
            table = "" if kernel is None else take(kernel.tasks.values())
            raise Stopped(f"an execution waits for ever for what is outside its world\n{table}")
        return []

    def close(self) -> None:
        pass

    def fileno(self) -> NoReturn:
        raise RuntimeError(REAL_WORLD)


class NoNetwork:
    """Where `listen` has no sockets from."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(REAL_WORLD)
