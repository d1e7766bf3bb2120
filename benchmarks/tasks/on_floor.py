"""The same works with no scheduler at all: generators, `send`, a heap, a deque.

What no contender in pure Python can go below. Where a work is nothing without a
scheduler (select, say), there is no floor.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from heapq import heappop, heappush
from typing import Any

from benchmarks.tasks import clock, nested
from benchmarks.tasks.clock import WARM, Watch, scaled

Routine = Generator[Any, Any, Any]

LONGER = 10  # times the work of the others, where it would be over in milliseconds


def child() -> Routine:
    return 1
    yield


def finish(routine: Routine) -> Any:
    """Resume it until it returns."""
    try:
        while True:
            routine.send(None)
    except StopIteration as stop:
        return stop.value


def crowd(tasks: int, watch: Watch, rounds: int, turns: Callable[[int], Routine]) -> int:
    """Resume each in turn. They are the routines that the contenders run."""
    routines = [turns(rounds + WARM) for _ in range(tasks)]
    for _ in range(WARM):
        for routine in routines:
            routine.send(None)
    watch.begin()
    for _ in range(rounds):
        for routine in routines:
            routine.send(None)
    watch.end()
    return tasks * rounds


def switch(tasks: int, watch: Watch) -> int:
    return crowd(tasks, watch, clock.rounds(tasks), nested.yields)


def timeouts(tasks: int, watch: Watch) -> int:
    """Each turn pushes a deadline on a heap; those cancelled are dropped at its top."""
    heap: list[list[Any]] = []

    def limited(count: int) -> Routine:
        for _ in range(count):
            entry = [time.monotonic() + 10, id(heap), True]
            heappush(heap, entry)
            yield
            entry[2] = False
            while heap and not heap[0][2]:
                heappop(heap)

    return crowd(tasks, watch, clock.rounds(tasks), limited)


def spawn_join(count: int, watch: Watch) -> int:
    count *= LONGER
    for _ in range(count):
        finish(child())
    return count


def spawn_many(count: int, watch: Watch) -> int:
    for routine in deque(child() for _ in range(count)):
        finish(routine)
    return count


def resume(depth: int, watch: Watch) -> int:
    turns = partial(nested.deep, depth)
    return nested.resume(depth, lambda tasks, rounds: crowd(tasks, watch, rounds, turns))


def call(depth: int, watch: Watch) -> int:
    return nested.call(depth, lambda *work: finish(nested.calls(*work, watch)))


def hop(capacity: int, watch: Watch) -> int:
    """A value from one generator to another, through a deque if there is a capacity."""
    count = scaled(40_000) * LONGER
    values: deque[int] = deque()

    def producer() -> Routine:
        yield from range(count)

    def consumer() -> Routine:
        while True:
            yield
            values.popleft()

    sink = consumer()
    sink.send(None)
    for value in producer():
        values.append(value)
        sink.send(None)
    return count


def hand_off(tasks: int, watch: Watch) -> int:
    """The owner's turn, then the first of those who wait becomes the owner."""
    count = scaled(40_000)
    waiting = deque(nested.yields(count) for _ in range(tasks))
    for _ in range(count):
        owner = waiting.popleft()
        owner.send(None)
        waiting.append(owner)
    return count


def sleepers(tasks: int, watch: Watch) -> int:
    """Each begins, goes on a heap with its deadline, and comes off to be ended."""
    heap: list[tuple[float, int, Routine]] = []

    def sleeper() -> Routine:
        yield 1

    for number in range(tasks):
        routine = sleeper()
        heappush(heap, (time.monotonic() + routine.send(None), number, routine))
    while heap:
        finish(heappop(heap)[2])
    return tasks


def parked(tasks: int, watch: Watch) -> dict[str, float]:
    """A suspended generator in a list."""
    before = clock.resident()
    waiting = [nested.yields(1) for _ in range(tasks)]
    for routine in waiting:
        routine.send(None)
    return clock.grown(before, tasks)


def runs(count: int, watch: Watch) -> int:
    return spawn_join(count, watch)
