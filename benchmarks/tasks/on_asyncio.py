"""The works as one writes them with asyncio; uvloop runs these, too (on_uvloop.py).

`run` is a module variable, which on_uvloop.py sets to uvloop's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from benchmarks.tasks import clock, nested
from benchmarks.tasks.clock import WARM, Watch, scaled

run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run

Turns = Callable[[int], Coroutine[Any, Any, None]]


def crowd(tasks: int, watch: Watch, rounds: int, turns: Turns) -> int:
    """Tasks that take turns; one of them, which only yields, holds the watch."""

    async def timed() -> None:
        await yields(WARM)
        watch.begin()
        await yields(rounds)
        watch.end()

    async def main() -> None:
        busy = [turns(rounds + 2 * WARM) for _ in range(tasks - 1)]
        await asyncio.gather(*busy, timed())

    run(main())
    return tasks * rounds


async def yields(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def switch(tasks: int, watch: Watch) -> int:
    return crowd(tasks, watch, clock.rounds(tasks), yields)


def timeouts(tasks: int, watch: Watch) -> int:
    async def turns(count: int) -> None:
        for _ in range(count):
            async with asyncio.timeout(10):
                await asyncio.sleep(0)

    return crowd(tasks, watch, clock.rounds(tasks), turns)


async def child() -> int:
    return 1


def spawn_join(count: int, watch: Watch) -> int:
    async def main() -> None:
        for _ in range(count):
            await asyncio.create_task(child())

    run(main())
    return count


def spawn_many(count: int, watch: Watch) -> int:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(child())

    run(main())
    return count


def resume(depth: int, watch: Watch) -> int:
    pause = partial(asyncio.sleep, 0)
    turns = partial(nested.deep_await, depth, pause=pause)
    return nested.resume(depth, lambda tasks, rounds: crowd(tasks, watch, rounds, turns))


def call(depth: int, watch: Watch) -> int:
    return nested.call(depth, lambda *work: run(nested.calls_await(*work, watch)))


def hop(capacity: int, watch: Watch) -> int:
    count = scaled(40_000)

    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(capacity)

        async def producer() -> None:
            for number in range(count):
                await queue.put(number)

        task = asyncio.create_task(producer())
        for _ in range(count):
            await queue.get()
        await task

    run(main())
    return count


def choose(channels: int, watch: Watch) -> int:
    """asyncio.wait over a task for each get; those that lose stay for the next time."""
    count = scaled(20_000)

    async def main() -> None:
        several: list[asyncio.Queue[int]] = [asyncio.Queue(1) for _ in range(channels)]

        async def producer() -> None:
            for number in range(count):
                await several[number % channels].put(number)

        task = asyncio.create_task(producer())
        gets = {asyncio.create_task(queue.get()): queue for queue in several}
        got = 0
        while got < count:
            done, _ = await asyncio.wait(gets, return_when=asyncio.FIRST_COMPLETED)
            got += len(done)
            for queue in [gets.pop(get) for get in done]:
                gets[asyncio.create_task(queue.get())] = queue
        for get in gets:
            get.cancel()
        await task

    run(main())
    return count


def hand_off(tasks: int, watch: Watch) -> int:
    turns = scaled(40_000) // tasks

    async def main() -> None:
        lock = asyncio.Lock()

        async def contender() -> None:
            for _ in range(turns):
                async with lock:
                    await asyncio.sleep(0)

        await asyncio.gather(*[contender() for _ in range(tasks)])

    run(main())
    return tasks * turns


def sleepers(tasks: int, watch: Watch) -> int:
    seconds = clock.asleep(tasks)

    async def main() -> None:
        await asyncio.gather(*[asyncio.sleep(seconds) for _ in range(tasks)])

    run(main())
    return tasks


def latency(wakes: int, watch: Watch) -> dict[str, float]:
    late: list[float] = []

    async def busy() -> None:
        while len(late) < wakes:
            await asyncio.sleep(0)

    async def main() -> None:
        others = [asyncio.create_task(busy()) for _ in range(clock.BUSY)]
        for _ in range(wakes):
            due = time.monotonic() + clock.SLEEP
            await asyncio.sleep(clock.SLEEP)
            late.append(time.monotonic() - due)
        await asyncio.gather(*others)

    run(main())
    return clock.lateness(late)


def parked(tasks: int, watch: Watch) -> dict[str, float]:
    async def main() -> dict[str, float]:
        event = asyncio.Event()
        before = clock.resident()
        waiting = [asyncio.create_task(event.wait()) for _ in range(tasks)]
        await yields(WARM)
        cost = clock.grown(before, tasks)
        event.set()
        await asyncio.gather(*waiting)
        return cost

    cost: dict[str, float] = run(main())
    return cost


def runs(count: int, watch: Watch) -> int:
    for _ in range(count):
        run(child())
    return count
