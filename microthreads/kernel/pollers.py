"""Pollers: which of the armed calls may succeed now.

The contract, the same for all:

    watch(descriptor)   have its events reported, for the sides that calls wait on
    forget(descriptor)  stop; must come before the descriptor is closed
    probe(fd, write)    whether one side of a descriptor is ready at this moment
    poll(seconds)       wait (None: for ever) and return the calls to attempt again
    close()             give back what the operating system lent
    fileno()            a descriptor that is readable when poll has something
    armed               how many calls wait on descriptors: descriptors.py counts

A poller marks sides ready and returns calls; it never wakes anybody.

`EpollPoller` registers a descriptor once, for both sides, edge-triggered, and
then has nothing to do for it until it is closed. `SelectorPoller`, for all other
systems, is in runtime/pollers.py.
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from microthreads.errors import BusyError
from microthreads.kernel.descriptors import Descriptor, Side
from microthreads.kernel.syscalls import SystemCall

# Each call that an event is for is attempted before any task runs, so what all of them
# receive is in memory at once. With 1,024 events of 64 KiB that cost twice the time of 16.
EVENTS_AT_ONCE = 16
LONGEST = 86_400.0  # seconds; the system's limit is 24 days, and waking early does no harm


EVENTS = NOT_OUT = NOT_IN = NOT_IN_OR_OUT = 0
if hasattr(select, "epoll"):
    NOT_OUT, NOT_IN = ~select.EPOLLOUT, ~(select.EPOLLIN | select.EPOLLRDHUP)
    NOT_IN_OR_OUT = ~(select.EPOLLIN | select.EPOLLOUT)
    # Urgent data counts as a hang-up does: a read may end early at its mark.
    EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET


class Poller(Protocol):
    """The contract of a poller; see the module's text."""

    name: str
    armed: int

    def watch(self, descriptor: Descriptor) -> None: ...
    def forget(self, descriptor: Descriptor) -> None: ...
    def poll(self, seconds: float | None) -> list[SystemCall[Any]]: ...
    def probe(self, fd: int, write: bool) -> bool: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...


def report(side: Side, calls: list[SystemCall[Any]]) -> None:
    """Mark `side` ready and add the calls that wait on it."""
    side.ready = True
    call = side.first
    while call is not None:
        calls.append(call)
        call = call.next


def adopt(descriptor: Descriptor, poller: Poller, watched: dict[int, Descriptor]) -> None:
    """Enter `descriptor` into `watched`, in place of any other with its number.

    The other one's file was closed without `detach`, and its number has been
    given out again: nothing will ever happen to it, so its waiters are told.
    """
    if descriptor.poller is not None:
        descriptor.poller.forget(descriptor)
    stale = watched.get(descriptor.fd)
    watched[descriptor.fd] = descriptor
    descriptor.poller = poller
    if stale is not None:
        stale.poller = None
        stale.detach()


def probe(fd: int, write: bool) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([] if write else [fd], [fd] if write else [], [], 0)[write])
    look = select.poll()
    look.register(fd, select.POLLOUT if write else select.POLLIN)
    return bool(look.poll(0))


def refuse_alias(other: Descriptor | None, descriptor: Descriptor) -> None:
    """Two Descriptors of one open file cannot both be waited on: the first one goes on."""
    if other is not None and (other.reading or other.writing):
        raise BusyError(
            f"descriptor {descriptor.fd} is waited on through another Descriptor object: share one"
        )


class EpollPoller:
    """Linux's epoll, edge-triggered, one registration for a descriptor's life.

    It is opened when there is something to watch or to wait for (see DOC: design/late).
    """

    name = "epoll"
    probe = staticmethod(probe)

    def __init__(self) -> None:
        self.armed = 0
        self._epoll: select.epoll | None = None
        self.watched: dict[int, Descriptor] = {}

    def _opened(self) -> select.epoll:
        if self._epoll is None:
            self._epoll = select.epoll()
        return self._epoll

    def watch(self, descriptor: Descriptor) -> None:
        if descriptor.poller is self:
            return
        epoll = self._opened()
        try:
            epoll.register(descriptor.fd, EVENTS)
        except FileExistsError:  # the same open file through a second Descriptor
            refuse_alias(self.watched.get(descriptor.fd), descriptor)
            epoll.modify(descriptor.fd, EVENTS)
        except PermissionError:
            raise unwatchable(descriptor.fd, self.name) from None
        adopt(descriptor, self, self.watched)

    def forget(self, descriptor: Descriptor) -> None:
        if self.watched.get(descriptor.fd) is descriptor:
            del self.watched[descriptor.fd]
            try:
                self._opened().unregister(descriptor.fd)
            except (OSError, ValueError):
                pass  # its file was closed first, which unregistered it; or the poller was
        descriptor.poller = None

    def poll(self, seconds: float | None) -> list[SystemCall[Any]]:
        calls: list[SystemCall[Any]] = []
        watched = self.watched
        if not watched and seconds == 0:
            return calls  # there is nothing to ask the system for
        timeout = -1.0 if seconds is None else min(seconds, LONGEST)  # -1: for ever
        for fd, events in self._opened().poll(timeout, EVENTS_AT_ONCE):
            descriptor = watched.get(fd)
            if descriptor is None:
                continue
            if events & NOT_OUT:
                if events & NOT_IN_OR_OUT:
                    descriptor.hung_up = True
                report(descriptor.reading, calls)
            if events & NOT_IN:
                side = descriptor.writing  # mostly nobody waits here: 50 ns less
                if side.first is None:
                    side.ready = True
                else:
                    report(side, calls)
        return calls

    def close(self) -> None:
        if self._epoll is not None:
            self._epoll.close()
        self.watched.clear()

    def fileno(self) -> int:
        return self._opened().fileno()


def unwatchable(fd: int, name: str) -> PermissionError:
    """The error for a descriptor that the operating system refuses to watch."""
    return PermissionError(
        f"{name} cannot watch descriptor {fd}: regular files and directories are always "
        "ready, so there is nothing to wait for; read it directly"
    )
