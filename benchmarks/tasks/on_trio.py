"""The works as one writes them with trio."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from benchmarks.tasks import clock, nested
from benchmarks.tasks.clock import WARM, Watch, scaled

Turns = Callable[[int], Awaitable[None]]


def crowd(tasks: int, watch: Watch, rounds: int, turns: Turns) -> int:
    """Tasks that take turns; one of them, which only yields, holds the watch."""

    async def timed() -> None:
        await yields(WARM)
        watch.begin()
        await yields(rounds)
        watch.end()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks - 1):
                nursery.start_soon(turns, rounds + 2 * WARM)
            nursery.start_soon(timed)

    trio.run(main)
    return tasks * rounds


async def yields(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


def switch(tasks: int, watch: Watch) -> int:
    return crowd(tasks, watch, clock.rounds(tasks), yields)


def timeouts(tasks: int, watch: Watch) -> int:
    async def turns(count: int) -> None:
        for _ in range(count):
            with trio.fail_after(10):
                await trio.lowlevel.checkpoint()

    return crowd(tasks, watch, clock.rounds(tasks), turns)


async def child() -> int:
    return 1


def spawn_join(count: int, watch: Watch) -> int:
    async def main() -> None:
        for _ in range(count):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)

    trio.run(main)
    return count


def spawn_many(count: int, watch: Watch) -> int:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(child)

    trio.run(main)
    return count


def resume(depth: int, watch: Watch) -> int:
    pause = trio.lowlevel.checkpoint
    turns = partial(nested.deep_await, depth, pause=pause)
    return nested.resume(depth, lambda tasks, rounds: crowd(tasks, watch, rounds, turns))


def call(depth: int, watch: Watch) -> int:
    return nested.call(depth, lambda *work: trio.run(nested.calls_await, *work, watch))


def hop(capacity: int, watch: Watch) -> int:
    count = scaled(40_000)

    async def main() -> None:
        sending: trio.MemorySendChannel[int]
        sending, receiving = trio.open_memory_channel(capacity)

        async def producer() -> None:
            for number in range(count):
                await sending.send(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(producer)
            for _ in range(count):
                await receiving.receive()

    trio.run(main)
    return count


async def first(several: list[Any]) -> None:
    """A nursery with a task for each receive; the first cancels the others."""
    async with trio.open_nursery() as nursery:

        async def receive(receiving: Any) -> None:
            await receiving.receive()
            nursery.cancel_scope.cancel()

        for _, receiving in several:
            nursery.start_soon(receive, receiving)


def choose(channels: int, watch: Watch) -> int:
    count = scaled(20_000)

    async def main() -> None:
        several = [trio.open_memory_channel[int](1) for _ in range(channels)]
        async with trio.open_nursery() as nursery:

            async def producer() -> None:
                for number in range(count):
                    await several[number % channels][0].send(number)
                nursery.cancel_scope.cancel()

            nursery.start_soon(producer)
            for _ in range(count):
                await first(several)

    trio.run(main)
    return count


def hand_off(tasks: int, watch: Watch) -> int:
    turns = scaled(40_000) // tasks

    async def main() -> None:
        lock = trio.Lock()

        async def contender() -> None:
            for _ in range(turns):
                async with lock:
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(contender)

    trio.run(main)
    return tasks * turns


def sleepers(tasks: int, watch: Watch) -> int:
    seconds = clock.asleep(tasks)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(trio.sleep, seconds)

    trio.run(main)
    return tasks


def latency(wakes: int, watch: Watch) -> dict[str, float]:
    late: list[float] = []

    async def busy() -> None:
        while len(late) < wakes:
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(clock.BUSY):
                nursery.start_soon(busy)
            for _ in range(wakes):
                due = time.monotonic() + clock.SLEEP
                await trio.sleep(clock.SLEEP)
                late.append(time.monotonic() - due)

    trio.run(main)
    return clock.lateness(late)


def parked(tasks: int, watch: Watch) -> dict[str, float]:
    async def main() -> dict[str, float]:
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            before = clock.resident()
            for _ in range(tasks):
                nursery.start_soon(event.wait)
            await yields(WARM)
            cost = clock.grown(before, tasks)
            event.set()
        return cost

    return trio.run(main)


def runs(count: int, watch: Watch) -> int:
    for _ in range(count):
        trio.run(child)
    return count
