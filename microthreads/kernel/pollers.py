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
then has nothing to do for it until it is closed. `SelectorPoller` works over
anything that looks like `selectors.BaseSelector`. Those are level-triggered,
so an interest that nobody waits on any more must go; it goes when it is first
reported in vain, which a server in steady state never sees.
"""

from __future__ import annotations

import os
import select
import selectors
from typing import Any, Protocol

from microthreads.errors import BusyError
from microthreads.kernel.descriptors import Descriptor, Side, is_open
from microthreads.kernel.syscalls import SystemCall

FD_SETSIZE = 1024  # what select() is compiled with, on every system that CPython knows
EVENTS_AT_ONCE = 1024
FOR_EVER = -1.0
LONGEST = 86_400.0  # seconds; the system's limit is 24 days, and waking early does no harm


EVENTS = 0
if hasattr(select, "epoll"):
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


def _report(side: Side, calls: list[SystemCall[Any]]) -> None:
    """Mark `side` ready and add the calls that wait on it."""
    side.ready = True
    call = side.first
    while call is not None:
        calls.append(call)
        call = call.next


def _adopt(descriptor: Descriptor, poller: Poller, watched: dict[int, Descriptor]) -> None:
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


def _probe(fd: int, write: bool) -> bool:
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
    """Linux's epoll, edge-triggered, one registration for a descriptor's life."""

    name = "epoll"
    probe = staticmethod(_probe)

    def __init__(self) -> None:
        self.armed = 0
        self._epoll = select.epoll()
        self._watched: dict[int, Descriptor] = {}

    def watch(self, descriptor: Descriptor) -> None:
        if descriptor.poller is self:
            return
        try:
            self._epoll.register(descriptor.fd, EVENTS)
        except FileExistsError:  # the same open file through a second Descriptor
            refuse_alias(self._watched.get(descriptor.fd), descriptor)
            self._epoll.modify(descriptor.fd, EVENTS)
        except PermissionError:
            raise unwatchable(descriptor.fd, self.name) from None
        _adopt(descriptor, self, self._watched)

    def forget(self, descriptor: Descriptor) -> None:
        if self._watched.get(descriptor.fd) is descriptor:
            del self._watched[descriptor.fd]
            try:
                self._epoll.unregister(descriptor.fd)
            except (OSError, ValueError):
                pass  # its file was closed first, which unregistered it; or the poller was
        descriptor.poller = None

    def poll(self, seconds: float | None) -> list[SystemCall[Any]]:
        calls: list[SystemCall[Any]] = []
        watched = self._watched
        timeout = FOR_EVER if seconds is None else min(seconds, LONGEST)
        for fd, events in self._epoll.poll(timeout, EVENTS_AT_ONCE):
            descriptor = watched.get(fd)
            if descriptor is None:
                continue
            if events & ~select.EPOLLOUT:
                if events & ~(select.EPOLLIN | select.EPOLLOUT):
                    descriptor.hung_up = True
                _report(descriptor.reading, calls)
            if events & ~(select.EPOLLIN | select.EPOLLRDHUP):
                _report(descriptor.writing, calls)
        return calls

    def close(self) -> None:
        self._epoll.close()
        self._watched.clear()

    def fileno(self) -> int:
        return self._epoll.fileno()


class SelectorPoller:
    """Any object with the interface of `selectors.BaseSelector`.

    Args:
        selector: The selector, or a class of the `selectors` module to make
            one; by default the best of the platform. It is closed with the kernel.
    """

    probe = staticmethod(_probe)

    def __init__(self, selector: Any = None) -> None:
        if selector is None or isinstance(selector, type):
            selector = (selector or selectors.DefaultSelector)()
        self.armed = 0
        self._selector = selector
        self.name = type(selector).__name__
        self._limit = FD_SETSIZE if self.name == "SelectSelector" else None
        self._watched: dict[int, Descriptor] = {}
        self._interest: dict[int, int] = {}
        self._files: dict[int, tuple[int, int]] = {}  # which file a number stood for

    def watch(self, descriptor: Descriptor) -> None:
        fd = descriptor.fd
        if descriptor.poller is not self:
            file = os.fstat(fd)
            if self._files.get(fd) == (file.st_dev, file.st_ino):
                refuse_alias(self._watched.get(fd), descriptor)
            if self._limit is not None and fd >= self._limit:
                raise ValueError(
                    f"select() cannot watch descriptor {fd}: it is built for numbers below "
                    f"{self._limit}; use the epoll or the poll poller"
                )
            self._drop(fd)
            self._change(fd, _wanted(descriptor), descriptor)
            _adopt(descriptor, self, self._watched)
            self._files[fd] = file.st_dev, file.st_ino
        else:
            self._change(fd, self._interest.get(fd, 0) | _wanted(descriptor), descriptor)

    def _change(self, fd: int, interest: int, descriptor: Descriptor | None) -> None:
        """Make `interest` what the selector watches `fd` for."""
        before = self._interest.get(fd, 0)
        if interest == before:
            return
        try:
            if not before:
                self._selector.register(fd, interest, descriptor)
            elif interest:
                self._selector.modify(fd, interest, descriptor)
            else:
                self._selector.unregister(fd)
        except PermissionError:
            raise unwatchable(fd, self.name) from None
        self._interest[fd] = interest

    def _drop(self, fd: int) -> None:
        if self._interest.pop(fd, 0):
            try:
                self._selector.unregister(fd)
            except (OSError, ValueError):
                pass  # its file was closed first

    def forget(self, descriptor: Descriptor) -> None:
        if self._watched.get(descriptor.fd) is descriptor:
            del self._watched[descriptor.fd]
            self._files.pop(descriptor.fd, None)
            self._drop(descriptor.fd)
        descriptor.poller = None

    def poll(self, seconds: float | None) -> list[SystemCall[Any]]:
        calls: list[SystemCall[Any]] = []
        try:
            events = self._selector.select(None if seconds is None else min(seconds, LONGEST))
        except (OSError, ValueError):
            weeded_out = self._weed_out()
            if weeded_out is None:
                raise
            return weeded_out
        for key, mask in events:
            descriptor = key.data
            interest = self._interest[key.fd]
            for side, bit in (
                (descriptor.reading, selectors.EVENT_READ),
                (descriptor.writing, selectors.EVENT_WRITE),
            ):
                if mask & bit:
                    if side.first is None:
                        interest &= ~bit  # reported in vain: nobody waits on it any more
                    _report(side, calls)
            self._change(key.fd, interest, descriptor)
        return calls

    def _weed_out(self) -> list[SystemCall[Any]] | None:
        """Files were closed behind our back: let their calls see that. None if none was."""
        calls: list[SystemCall[Any]] = []
        closed = [each for each in self._watched.values() if not is_open(each.fd)]
        for descriptor in closed:
            self.forget(descriptor)
            _report(descriptor.reading, calls)
            _report(descriptor.writing, calls)
        return calls if closed else None

    def close(self) -> None:
        self._selector.close()
        self._watched.clear()
        self._interest.clear()

    def fileno(self) -> int:
        if not hasattr(self._selector, "fileno"):
            raise RuntimeError(f"{self.name} has no descriptor to embed by: use the epoll poller")
        number: int = self._selector.fileno()
        return number


def _wanted(descriptor: Descriptor) -> int:
    read = selectors.EVENT_READ if descriptor.reading.first is not None else 0
    return read | (selectors.EVENT_WRITE if descriptor.writing.first is not None else 0)


def unwatchable(fd: int, name: str) -> PermissionError:
    """The error for a descriptor that the operating system refuses to watch."""
    return PermissionError(
        f"{name} cannot watch descriptor {fd}: regular files and directories are always "
        "ready, so there is nothing to wait for; read it directly"
    )
