"""Wait queues: the armed calls that wait for one thing, first in, first out.

A doubly linked list through the calls themselves, as kernels have always done
it: adding, taking the first, and removing from the middle (which is what a
cancellation does) each take constant time and no memory. A call stands in one
queue at most, so its two links live in the call.

A wait queue returns calls; it never wakes anybody.

Invariant: every call in the queue is armed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from microthreads.kernel.syscalls import SystemCall


class WaitQueue:
    """A FIFO of armed calls. Its `first` is None when it is empty."""

    __slots__ = ("first", "last")

    def __init__(self) -> None:
        self.first: Any = None  # a SystemCall or None; Any spares a cast in every user
        self.last: Any = None

    def append(self, call: SystemCall[Any]) -> None:
        """Put `call` behind all others."""
        last = self.last
        call.previous = last
        call.next = None
        call.queue = self
        if last is None:
            self.first = call
        else:
            last.next = call
        self.last = call

    def remove(self, call: SystemCall[Any]) -> None:
        """Take `call`, which must be in this queue, out of it."""
        before, after = call.previous, call.next
        if before is None:
            self.first = after
        else:
            before.next = after
        if after is None:
            self.last = before
        else:
            after.previous = before
        call.previous = call.next = call.queue = None

    def popleft(self) -> Any:
        """Take the first call out; the queue must not be empty."""
        call = self.first
        self.first = after = call.next
        if after is None:
            self.last = None
        else:
            after.previous = None
        call.next = call.queue = None
        return call

    def __iter__(self) -> Iterator[Any]:
        """The calls in order; the current one may be removed on the way."""
        call = self.first
        while call is not None:
            after = call.next
            yield call
            call = after

    def __bool__(self) -> bool:
        return self.first is not None
