"""The works as one writes them with tinyio, which has no channels and no select."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import tinyio

from benchmarks.tasks import clock, nested
from benchmarks.tasks.clock import WARM, Watch, scaled

Routine = Generator[Any, Any, Any]


def run(main: Routine) -> Any:
    return tinyio.Loop().run(main)


def crowd(tasks: int, watch: Watch, rounds: int, turns: Callable[[int], Routine]) -> int:
    """Tasks that take turns; one of them, which only yields, holds the watch."""

    def timed() -> Routine:
        yield from nested.yields(WARM)
        watch.begin()
        yield from nested.yields(rounds)
        watch.end()

    def main() -> Routine:
        yield [*[turns(rounds + 2 * WARM) for _ in range(tasks - 1)], timed()]

    run(main())
    return tasks * rounds


def switch(tasks: int, watch: Watch) -> int:
    return crowd(tasks, watch, clock.rounds(tasks), nested.yields)


def timeouts(tasks: int, watch: Watch) -> int:
    """tinyio's limit is on a routine, which becomes a task of its own."""

    def turns(count: int) -> Routine:
        for _ in range(count):
            yield tinyio.timeout(nested.yields(1), 10)

    def main() -> Routine:
        yield [turns(rounds) for _ in range(tasks)]

    rounds = clock.rounds(tasks, clock.SWITCHES // 10)
    run(main())
    return tasks * rounds


def child() -> Routine:
    return 1
    yield


def spawn_join(count: int, watch: Watch) -> int:
    def main() -> Routine:
        for _ in range(count):
            yield child()

    run(main())
    return count


def spawn_many(count: int, watch: Watch) -> int:
    def main() -> Routine:
        yield [child() for _ in range(count)]

    run(main())
    return count


def resume(depth: int, watch: Watch) -> int:
    turns = partial(nested.deep, depth)
    return nested.resume(depth, lambda tasks, rounds: crowd(tasks, watch, rounds, turns))


def nest_yield(depth: int) -> Routine:
    if depth > 1:
        yield nest_yield(depth - 1)


def call(depth: int, watch: Watch) -> int:
    return nested.call(depth, lambda *work: run(nested.calls(*work, watch)))


def call_yield(depth: int, watch: Watch) -> int:
    repeats = max(1, clock.calls(depth) // 4)

    def main() -> Routine:
        watch.begin()
        for _ in range(repeats):
            yield nest_yield(depth)
        watch.end()

    run(main())
    return repeats * depth


def hand_off(tasks: int, watch: Watch) -> int:
    turns = scaled(10_000) // tasks

    def main() -> Routine:
        lock = tinyio.Lock()

        def contender() -> Routine:
            for _ in range(turns):
                with (yield lock()):
                    yield

        yield [contender() for _ in range(tasks)]

    run(main())
    return tasks * turns


def sleepers(tasks: int, watch: Watch) -> int:
    seconds = clock.asleep(tasks)

    def main() -> Routine:
        yield [tinyio.sleep(seconds) for _ in range(tasks)]

    run(main())
    return tasks


def latency(wakes: int, watch: Watch) -> dict[str, float]:
    late: list[float] = []

    def busy() -> Routine:
        while len(late) < wakes:
            yield

    def main() -> Routine:
        yield {busy() for _ in range(clock.BUSY)}
        for _ in range(wakes):
            due = time.monotonic() + clock.SLEEP
            yield tinyio.sleep(clock.SLEEP)
            late.append(time.monotonic() - due)

    run(main())
    return clock.lateness(late)


def parked(tasks: int, watch: Watch) -> dict[str, float]:
    def main() -> Routine:
        event = tinyio.Event()
        before = clock.resident()
        waiting = [event.wait() for _ in range(tasks)]
        yield set(waiting)
        yield from nested.yields(WARM)
        cost = clock.grown(before, tasks)
        event.set()
        yield waiting
        return cost

    cost: dict[str, float] = run(main())
    return cost


def runs(count: int, watch: Watch) -> int:
    for _ in range(count):
        run(child())
    return count
