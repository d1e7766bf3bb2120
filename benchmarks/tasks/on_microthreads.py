"""The works as one writes them with microthreads. The same names are in each `on_*.py`.

A spawned task runs before its parent goes on, so works that need all tasks to be
there at once let them wait at a gate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from benchmarks.tasks import clock, nested
from benchmarks.tasks.clock import WARM, Watch, scaled
from microthreads import Channel, Event, Lock, TaskGroup, run, select, sleep, spawn, timeout

Routine = Generator[Any, Any, Any]


def crowd(tasks: int, watch: Watch, rounds: int, turns: Callable[[int], Routine]) -> int:
    """Tasks that take turns; one of them, which only yields, holds the watch."""
    gate = Event()

    def busy() -> Routine:
        yield gate.wait()
        yield turns(rounds + 2 * WARM)

    def timed() -> Routine:
        yield gate.wait()
        for _ in range(WARM):
            yield
        watch.begin()
        for _ in range(rounds):
            yield
        watch.end()

    def main() -> Routine:
        for _ in range(tasks - 1):
            yield spawn(busy())
        yield spawn(timed())
        gate.set()

    run(main())
    return tasks * rounds


def switch(tasks: int, watch: Watch) -> int:
    return crowd(tasks, watch, clock.rounds(tasks), nested.yields)


def timeouts(tasks: int, watch: Watch) -> int:
    def turns(count: int) -> Routine:
        for _ in range(count):
            with timeout(10):
                yield

    return crowd(tasks, watch, clock.rounds(tasks), turns)


def spawn_join(count: int, watch: Watch) -> int:
    def child() -> Routine:
        return 1
        yield

    def main() -> Routine:
        for _ in range(count):
            yield (yield spawn(child()))

    run(main())
    return count


def spawn_many(count: int, watch: Watch) -> int:
    def child() -> Routine:
        return 1
        yield

    def main() -> Routine:
        with TaskGroup() as group:
            for _ in range(count):
                yield group.spawn(child())
            yield group.join()

    run(main())
    return count


def deep_trampoline(depth: int, count: int) -> Routine:
    if depth:
        yield deep_trampoline(depth - 1, count)
    else:
        for _ in range(count):
            yield


def resume(depth: int, watch: Watch, routine: Callable[[int, int], Any] = nested.deep) -> int:
    turns = partial(routine, depth)
    return nested.resume(depth, lambda tasks, rounds: crowd(tasks, watch, rounds, turns))


def resume_trampoline(depth: int, watch: Watch) -> int:
    return resume(depth, watch, deep_trampoline)


def resume_await(depth: int, watch: Watch) -> int:
    return resume(depth, watch, partial(nested.deep_await, pause=partial(sleep, 0)))


def nest_trampoline(depth: int) -> Routine:
    if depth > 1:
        yield nest_trampoline(depth - 1)


def call(depth: int, watch: Watch) -> int:
    return nested.call(depth, lambda *work: run(nested.calls(*work, watch)))


def call_trampoline(depth: int, watch: Watch) -> int:
    repeats = clock.calls(depth)

    def main() -> Routine:
        yield
        watch.begin()
        for _ in range(repeats):
            yield nest_trampoline(depth)
        watch.end()

    run(main())
    return repeats * depth


def call_await(depth: int, watch: Watch) -> int:
    return nested.call(depth, lambda *work: run(nested.calls_await(*work, watch)))


def hop(capacity: int, watch: Watch) -> int:
    count = scaled(40_000)
    channel: Channel[int] = Channel(capacity)

    def producer() -> Routine:
        for number in range(count):
            yield channel.send(number)

    def main() -> Routine:
        yield spawn(producer())
        for _ in range(count):
            yield channel.recv()

    run(main())
    return count


def choose(channels: int, watch: Watch) -> int:
    count = scaled(20_000)
    several: list[Channel[int]] = [Channel(1) for _ in range(channels)]

    def producer() -> Routine:
        for number in range(count):
            yield several[number % channels].send(number)

    def main() -> Routine:
        yield spawn(producer())
        for _ in range(count):
            yield select(*[channel.recv() for channel in several])

    run(main())
    return count


def hand_off(tasks: int, watch: Watch) -> int:
    turns = scaled(40_000) // tasks
    lock = Lock()

    def contender() -> Routine:
        for _ in range(turns):
            with (yield lock.acquire()):
                yield

    def main() -> Routine:
        for _ in range(tasks):
            yield spawn(contender())

    run(main())
    return tasks * turns


def sleepers(tasks: int, watch: Watch) -> int:
    seconds = clock.asleep(tasks)

    def sleeper() -> Routine:
        yield sleep(seconds)

    def main() -> Routine:
        for _ in range(tasks):
            yield spawn(sleeper())

    run(main())
    return tasks


def latency(wakes: int, watch: Watch) -> dict[str, float]:
    late: list[float] = []

    def busy() -> Routine:
        while len(late) < wakes:
            yield

    def main() -> Routine:
        for _ in range(clock.BUSY):
            yield spawn(busy())
        for _ in range(wakes):
            due = time.monotonic() + clock.SLEEP
            yield sleep(clock.SLEEP)
            late.append(time.monotonic() - due)

    run(main())
    return clock.lateness(late)


def parked(tasks: int, watch: Watch) -> dict[str, float]:
    event = Event()

    def waits() -> Routine:
        yield event.wait()

    def main() -> Routine:
        before = clock.resident()
        for _ in range(tasks):
            yield spawn(waits())
        cost = clock.grown(before, tasks)
        event.set()
        return cost

    return run(main())


def runs(count: int, watch: Watch) -> int:
    def main() -> Routine:
        return 1
        yield

    for _ in range(count):
        run(main())
    return count
