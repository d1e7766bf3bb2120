"""The works as one writes them with curio. Its last release, 1.6, needs Python 3.11 or older."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import curio

from benchmarks.tasks import clock, nested
from benchmarks.tasks.clock import WARM, Watch, scaled

Turns = Callable[[int], Coroutine[Any, Any, None]]


def crowd(tasks: int, watch: Watch, rounds: int, turns: Turns) -> int:
    """Tasks that take turns; one of them, which only yields, holds the watch."""

    async def timed() -> None:
        await yields(WARM)
        watch.begin()
        await yields(rounds)
        watch.end()

    async def main() -> None:
        async with curio.TaskGroup() as group:
            for _ in range(tasks - 1):
                await group.spawn(turns, rounds + 2 * WARM)
            await group.spawn(timed)

    curio.run(main)
    return tasks * rounds


async def yields(count: int) -> None:
    for _ in range(count):
        await curio.sleep(0)


def switch(tasks: int, watch: Watch) -> int:
    return crowd(tasks, watch, clock.rounds(tasks), yields)


def timeouts(tasks: int, watch: Watch) -> int:
    async def turns(count: int) -> None:
        for _ in range(count):
            async with curio.timeout_after(10):
                await curio.sleep(0)

    return crowd(tasks, watch, clock.rounds(tasks), turns)


async def child() -> int:
    return 1


def spawn_join(count: int, watch: Watch) -> int:
    async def main() -> None:
        for _ in range(count):
            await (await curio.spawn(child)).join()

    curio.run(main)
    return count


def spawn_many(count: int, watch: Watch) -> int:
    async def main() -> None:
        async with curio.TaskGroup() as group:
            for _ in range(count):
                await group.spawn(child)

    curio.run(main)
    return count


def resume(depth: int, watch: Watch) -> int:
    pause = partial(curio.sleep, 0)
    turns = partial(nested.deep_await, depth, pause=pause)
    return nested.resume(depth, lambda tasks, rounds: crowd(tasks, watch, rounds, turns))


def call(depth: int, watch: Watch) -> int:
    return nested.call(depth, lambda *work: curio.run(nested.calls_await, *work, watch))


def hop(capacity: int, watch: Watch) -> int:
    count = scaled(40_000)

    async def main() -> None:
        queue = curio.Queue(capacity)

        async def producer() -> None:
            for number in range(count):
                await queue.put(number)

        task = await curio.spawn(producer)
        for _ in range(count):
            await queue.get()
        await task.join()

    curio.run(main)
    return count


def choose(channels: int, watch: Watch) -> int:
    """TaskGroup(wait=any) over a task for each get; the first cancels the others."""
    count = scaled(20_000)

    async def main() -> None:
        several = [curio.Queue(1) for _ in range(channels)]

        async def producer() -> None:
            for number in range(count):
                await several[number % channels].put(number)

        task = await curio.spawn(producer)
        got = 0
        while got < count:
            async with curio.TaskGroup(wait=any) as group:
                for queue in several:
                    await group.spawn(queue.get)
            got += sum(result is not None for result in group.results)
        await task.join()

    curio.run(main)
    return count


def hand_off(tasks: int, watch: Watch) -> int:
    turns = scaled(40_000) // tasks

    async def main() -> None:
        lock = curio.Lock()

        async def contender() -> None:
            for _ in range(turns):
                async with lock:
                    await curio.sleep(0)

        async with curio.TaskGroup() as group:
            for _ in range(tasks):
                await group.spawn(contender)

    curio.run(main)
    return tasks * turns


def sleepers(tasks: int, watch: Watch) -> int:
    seconds = clock.asleep(tasks)

    async def main() -> None:
        async with curio.TaskGroup() as group:
            for _ in range(tasks):
                await group.spawn(curio.sleep, seconds)

    curio.run(main)
    return tasks


def latency(wakes: int, watch: Watch) -> dict[str, float]:
    late: list[float] = []

    async def busy() -> None:
        while len(late) < wakes:
            await curio.sleep(0)

    async def main() -> None:
        async with curio.TaskGroup() as group:
            for _ in range(clock.BUSY):
                await group.spawn(busy)
            for _ in range(wakes):
                due = time.monotonic() + clock.SLEEP
                await curio.sleep(clock.SLEEP)
                late.append(time.monotonic() - due)

    curio.run(main)
    return clock.lateness(late)


def parked(tasks: int, watch: Watch) -> dict[str, float]:
    async def main() -> dict[str, float]:
        event = curio.Event()
        before = clock.resident()
        async with curio.TaskGroup() as group:
            for _ in range(tasks):
                await group.spawn(event.wait)
            await yields(WARM)
            cost = clock.grown(before, tasks)
            await event.set()
        return cost

    cost: dict[str, float] = curio.run(main)
    return cost


def runs(count: int, watch: Watch) -> int:
    for _ in range(count):
        curio.run(child)
    return count
