"""Which poller a kernel gets, by name or by object; and the one over selectors.

`SelectorPoller` works over anything that looks like `selectors.BaseSelector`.
Those are level-triggered, so an interest that nobody waits on any more must go;
it goes when it is first reported in vain, which a server in steady state never
sees.
"""

from __future__ import annotations

import os
import select
import selectors
from collections.abc import Callable
from typing import Any

from microthreads.kernel import Descriptor, EpollPoller, Poller, SystemCall
from microthreads.kernel.descriptors import is_open
from microthreads.kernel.pollers import LONGEST, adopt, probe, refuse_alias, report, unwatchable

FD_SETSIZE = 1024  # what select() is compiled with, on every system that CPython knows


class SelectorPoller:
    """Any object with the interface of `selectors.BaseSelector`.

    Args:
        selector: The selector, or a class of the `selectors` module to make
            one; by default the best of the platform. It is closed with the kernel.
    """

    probe = staticmethod(probe)

    def __init__(self, selector: Any = None) -> None:
        if selector is None or isinstance(selector, type):
            selector = (selector or selectors.DefaultSelector)()
        self.armed = 0
        self._selector = selector
        self.name = type(selector).__name__
        self._limit = FD_SETSIZE if self.name == "SelectSelector" else None
        self.watched: dict[int, Descriptor] = {}
        self._interest: dict[int, int] = {}
        self._files: dict[int, tuple[int, int]] = {}  # which file a number stood for

    def watch(self, descriptor: Descriptor) -> None:
        fd = descriptor.fd
        if descriptor.poller is not self:
            file = os.fstat(fd)
            if self._files.get(fd) == (file.st_dev, file.st_ino):
                refuse_alias(self.watched.get(fd), descriptor)
            if self._limit is not None and fd >= self._limit:
                raise ValueError(
                    f"select() cannot watch descriptor {fd}: it is built for numbers below "
                    f"{self._limit}; use the epoll or the poll poller"
                )
            self._drop(fd)
            self._change(fd, _wanted(descriptor), descriptor)
            adopt(descriptor, self, self.watched)
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
        if self.watched.get(descriptor.fd) is descriptor:
            del self.watched[descriptor.fd]
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
                    report(side, calls)
            self._change(key.fd, interest, descriptor)
        return calls

    def _weed_out(self) -> list[SystemCall[Any]] | None:
        """Files were closed behind our back: let their calls see that. None if none was."""
        calls: list[SystemCall[Any]] = []
        closed = [each for each in self.watched.values() if not is_open(each.fd)]
        for descriptor in closed:
            self.forget(descriptor)
            report(descriptor.reading, calls)
            report(descriptor.writing, calls)
        return calls if closed else None

    def close(self) -> None:
        self._selector.close()
        self.watched.clear()
        self._interest.clear()

    def fileno(self) -> int:
        if not hasattr(self._selector, "fileno"):
            raise RuntimeError(f"{self.name} has no descriptor to embed by: use the epoll poller")
        number: int = self._selector.fileno()
        return number


def _wanted(descriptor: Descriptor) -> int:
    read = selectors.EVENT_READ if descriptor.reading.first is not None else 0
    return read | (selectors.EVENT_WRITE if descriptor.writing.first is not None else 0)


def _epoll() -> Poller:
    _ = select.epoll  # an AttributeError where there is none
    return EpollPoller()


POLLERS: dict[str, Callable[[], Poller]] = {
    "epoll": _epoll,
    "poll": lambda: SelectorPoller(selectors.PollSelector),
    "select": lambda: SelectorPoller(selectors.SelectSelector),
}


def make_poller(choice: Any) -> Poller:
    """The poller that `choice` stands for.

    Args:
        choice: None for the best of the platform; "epoll", "poll" or "select";
            a `Poller`; or an object like `selectors.BaseSelector`.

    Raises:
        ValueError: The name is none of these, or this platform has no such poller.
        TypeError: It is neither a name, nor a poller, nor a selector.
    """
    if choice is None:
        return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
    if isinstance(choice, str):
        if choice not in POLLERS:
            raise ValueError(f"unknown poller {choice!r}: choose from {', '.join(POLLERS)}")
        try:
            return POLLERS[choice]()
        except AttributeError:
            raise ValueError(f"this platform has no {choice}: choose another poller") from None
    if hasattr(choice, "watch") and hasattr(choice, "poll"):
        poller: Poller = choice
        return poller
    if hasattr(choice, "register") and hasattr(choice, "select"):
        return SelectorPoller(choice)
    raise TypeError(
        f"poller= takes a name ({', '.join(POLLERS)}), a poller, or a selector, not {choice!r}"
    )
