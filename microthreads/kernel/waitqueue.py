"""Wait queues: the armed calls that wait for one thing, first in, first out.

A doubly linked list through the calls themselves, as kernels have always done
it: adding, taking the first, and removing from the middle (which is what a
cancellation does) each take constant time and no memory. A call stands in one
queue at most, so its two links live in the call.

Whoever ends a wait takes the call out by `wake_first`, which is all or nothing:
where the waiter cannot be told (the stack is full, a signal handler raises), the
call stands first again, as if nothing had been tried.

Invariant: every call in the queue is armed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from microthreads.kernel.current import headroom
from microthreads.kernel.syscalls import SystemCall, room_for


class WaitQueue:
    """A FIFO of armed calls. Its `first` is None when it is empty."""

    __slots__ = ("first", "last")

    def __init__(self) -> None:
        self.first: Any = None  # a SystemCall or None; Any spares a cast in every user
        self.last: Any = None

    def append(self, call: SystemCall[Any]) -> None:
        """Put `call` behind all others; unless its wait was ended while it was being armed."""
        if call.waiter is None:
            return
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
        """Take the first call out; the queue must not be empty. `wake_first` is safer."""
        call = self.first
        self.first = after = call.next
        if after is None:
            self.last = None
        else:
            after.previous = None
        call.next = call.queue = None
        return call

    def wake_first(self, value: Any = None) -> bool:
        """End the wait of the first call with `value`, or with a `Failure`.

        Returns whether that call took it; if not, its wait was ended by another just now.
        """
        call = self.first
        if call is None:
            return False
        self.first = after = call.next
        if after is None:
            self.last = None
        else:
            after.previous = None
        call.next = call.queue = None
        if call.waiter is None:
            return False
        try:
            taken: bool = call.waiter.woken(call, value)
        except BaseException:
            if call.waiter is not None:  # nothing has happened; no function is called here
                call.next = first = self.first
                if first is None:
                    self.last = call
                else:
                    first.previous = call
                self.first = call
                call.queue = self
            raise
        return taken

    def check_room(self) -> None:
        """See that the stack has room to wake them all: wholly, or not at all.

        Raises:
            RecursionError: It has not; nothing was done.
        """
        if self.first is not None:
            headroom(12 + max((room_for(call) for call in self), default=0))

    def __iter__(self) -> Iterator[Any]:
        """The calls in order; the current one may be removed on the way."""
        call = self.first
        while call is not None:
            after = call.next
            yield call
            call = after

    def __bool__(self) -> bool:
        return self.first is not None
