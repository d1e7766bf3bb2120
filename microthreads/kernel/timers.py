"""The timers: what is to happen when, soonest first.

A *target* is anything with a `timer` attribute and an `expire()` method: a
sleeping call, or the scope of a timeout. Entries are (deadline, number,
target); the number breaks ties first in, first out, so that targets are never
compared. The target's `timer` is the number of its entry, or None.

A program's time limits are mostly all of one length, so their deadlines come
in order. An entry that is due after all that came in order before goes to the
end of a row; only what is due sooner goes on a heap. Of 100,000 sleeps, one
costs a seventh less than with a heap alone.

Cancelling leaves the entry where it is, since neither can give up an entry
from its middle; the entry is dead because its number is no longer its
target's. When most entries are dead they are swept out, so a million timeouts
that are set and cancelled need no more memory than a few.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Protocol

SWEEP_FROM = 64  # below this, sweeping costs more than it saves
FEW = 8  # a row of so many gives way: timers for tomorrow must not keep all others out


class Target(Protocol):
    """What a timer can be set for."""

    timer: int | None

    def expire(self) -> None: ...


class Timers:
    """Deadlines on the kernel's clock, in seconds."""

    __slots__ = ("_dead", "_heap", "_numbers", "_row")

    def __init__(self) -> None:
        self._row: deque[Any] = deque()
        self._heap: list[Any] = []
        self._numbers = count(1)
        self._dead = 0

    def add(self, deadline: float, target: Target) -> None:
        """Have `target` expire at `deadline`. It must have no timer set."""
        target.timer = number = next(self._numbers)
        row = self._row
        if row and deadline < row[-1][0]:
            if len(row) > FEW:
                heappush(self._heap, (deadline, number, target))
                return
            while row:
                heappush(self._heap, row.pop())
        row.append((deadline, number, target))

    def cancel(self, target: Target) -> None:
        """Forget the timer of `target`, if it has one."""
        if target.timer is None:
            return
        target.timer = None
        self._dead += 1
        if self._dead > SWEEP_FROM and self._dead * 2 > len(self._row) + len(self._heap):
            self._sweep()

    def pop_due(self, now: float) -> Any:  # a Target, or None
        """The first target whose deadline is not after `now`, its timer unset."""
        while (queue := self._soonest()) and queue[0][0] <= now:
            _, number, target = queue.popleft() if queue is self._row else heappop(queue)
            if target.timer == number:
                target.timer = None
                return target
            self._dead -= 1
        return None

    def next_deadline(self) -> float | None:
        """When the first live timer is due, or None."""
        while queue := self._soonest():
            deadline: float = queue[0][0]
            if queue[0][2].timer == queue[0][1]:
                return deadline
            _ = queue.popleft() if queue is self._row else heappop(queue)
            self._dead -= 1
        return None

    def _soonest(self) -> Any:
        """The row or the heap: where the first of all entries is. Empty if there is none."""
        row, heap = self._row, self._heap
        return heap if heap and not (row and row[0] < heap[0]) else row

    def _sweep(self) -> None:
        self._row = deque(entry for entry in self._row if entry[2].timer == entry[1])
        self._heap = [entry for entry in self._heap if entry[2].timer == entry[1]]
        heapify(self._heap)
        self._dead = 0
