"""The timers: what is to happen when, soonest first.

A *target* is anything with a `timer` attribute and an `expire()` method: a
sleeping call, or the scope of a timeout. Entries are lists [deadline, number,
target]; the number breaks ties first in, first out, so that targets are never
compared. The target's `timer` is its entry, or None.

A program's time limits are mostly all of one length, so their deadlines come
in order. An entry that is due after all that came in order before goes to the
end of a row; only what is due sooner goes on a heap. Of 100,000 sleeps, one
costs a seventh less than with a heap alone.

Cancelling leaves the entry where it is, since neither can give up an entry
from its middle; the entry is dead because its target is taken out, and so keeps
nothing alive. When most entries are dead they are swept out, so a million timeouts
that are set and cancelled need no more memory than a few.

An entry goes only after its target has expired. So a target whose `expire` was cut
short, by a signal handler that raised, is told once more: it must bear that.
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

    timer: Any  # its entry, or None

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
        target.timer = entry = [deadline, next(self._numbers), target]
        row = self._row
        if row and deadline < row[-1][0]:
            if len(row) > FEW:
                heappush(self._heap, entry)
                return
            # The row is looked up again: a finalizer may have put another in its place.
            self._row, row = deque((entry,)), self._row
            self._give_way(row)
        else:
            row.append(entry)

    def _give_way(self, row: Any) -> None:
        """Put the entries of a row that was given up on the heap."""
        try:
            for entry in row:
                heappush(self._heap, entry)
        except BaseException:  # a signal handler's; an entry may be there twice, but not lost
            for entry in row:
                heappush(self._heap, entry)
            raise

    def cancel(self, target: Target) -> None:
        """Forget the timer of `target`, if it has one."""
        entry = target.timer
        if entry is None:
            return
        target.timer = entry[2] = None
        self._dead += 1
        if self._dead > SWEEP_FROM and self._dead * 2 > len(self._row) + len(self._heap):
            self._sweep()

    def expire_due(self, now: float) -> None:
        """Expire all targets whose deadline is not after `now`, soonest first."""
        heap = self._heap
        while True:
            row = self._row  # what expires may put another in its place
            queue: Any = heap if heap and not (row and row[0] < heap[0]) else row
            if not queue:
                return
            entry = queue[0]
            target = entry[2]
            if target is None:
                self._dead -= 1
            elif entry[0] > now:
                return
            else:
                target.timer = None  # it may set another one
                target.expire()
                entry[2] = None
            if not queue or queue[0] is not entry:
                self._dead += 1  # what expired has set an earlier one: this is passed later
            else:
                _ = heappop(heap) if queue is heap else queue.popleft()

    def next_deadline(self) -> float | None:
        """When the first live timer is due, or None."""
        row, heap = self._row, self._heap
        while queue := heap if heap and not (row and row[0] < heap[0]) else row:
            entry = queue[0]
            if entry[2] is not None:
                deadline: float = entry[0]
                return deadline
            self._dead -= 1
            _ = row.popleft() if queue is row else heappop(heap)
        return None

    def clear(self) -> None:
        """Forget all timers."""
        for entry in (*self._row, *self._heap):
            if entry[2] is not None:
                target, entry[2] = entry[2], None
                target.timer = None
        self._row.clear()
        self._heap.clear()
        self._dead = 0

    def _sweep(self) -> None:
        for queue in (self._row, self._heap):
            live = [entry for entry in queue if entry[2] is not None]
            queue.clear()
            queue.extend(live)
        heapify(self._heap)
        self._dead = 0
