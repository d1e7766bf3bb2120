"""The timer heap: what is to happen when, soonest first.

A *target* is anything with a `timer` attribute and an `expire()` method: a
sleeping call, or the scope of a timeout. Heap entries are (deadline, number,
target); the number breaks ties first in, first out, so that targets are never
compared. The target's `timer` is the number of its entry, or None.

Cancelling leaves the entry where it is, since a heap cannot give up an entry
from its middle; the entry is dead because its number is no longer its
target's. When most entries are dead the heap is swept, so a million timeouts
that are set and cancelled need no more memory than a few.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Protocol

SWEEP_FROM = 64  # below this, sweeping costs more than it saves


class Target(Protocol):
    """What a timer can be set for."""

    timer: int | None

    def expire(self) -> None: ...


class Alarm:
    """A target that only remembers that its time has come."""

    def __init__(self) -> None:
        self.timer: int | None = None
        self.rung = False

    def expire(self) -> None:
        self.rung = True


class Timers:
    """Deadlines on the kernel's clock, in seconds."""

    __slots__ = ("_dead", "_heap", "_numbers")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Target]] = []
        self._numbers = count(1)
        self._dead = 0

    def add(self, deadline: float, target: Target) -> None:
        """Have `target` expire at `deadline`. It must have no timer set."""
        target.timer = number = next(self._numbers)
        heapq.heappush(self._heap, (deadline, number, target))

    def cancel(self, target: Target) -> None:
        """Forget the timer of `target`, if it has one."""
        if target.timer is None:
            return
        target.timer = None
        self._dead += 1
        if self._dead > SWEEP_FROM and self._dead * 2 > len(self._heap):
            self._sweep()

    def pop_due(self, now: float) -> Target | None:
        """The first target whose deadline is not after `now`, its timer unset."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, number, target = heapq.heappop(heap)
            if target.timer == number:
                target.timer = None
                return target
            self._dead -= 1
        return None

    def next_deadline(self) -> float | None:
        """When the first live timer is due, or None."""
        heap = self._heap
        while heap:
            deadline, number, target = heap[0]
            if target.timer == number:
                return deadline
            heapq.heappop(heap)
            self._dead -= 1
        return None

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].timer == entry[1]]
        heapq.heapify(self._heap)
        self._dead = 0
