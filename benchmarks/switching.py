"""The work that needs no network, written for microthreads, for asyncio, and as bare generators.

Each function does its work once and returns how many operations that was. uvloop
runs the asyncio version. Each measurement is a process of its own, `python3 -m
benchmarks.switching WORK CONTENDER`, which imports only what its contender needs:
what else is imported is not without effect (see docs/design.md, on contexts).
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

from microthreads import Channel, run, sleep, spawn

TASKS, YIELDS, SPAWNS, HOPS, SLEEPERS = 100, 2_000, 20_000, 20_000, 100_000

Routine = Generator[Any, Any, Any]


def floor_yield() -> int:
    def loop() -> Routine:
        while True:
            yield

    loops = [loop() for _ in range(TASKS)]
    for generator in loops:
        generator.send(None)
    for _ in range(YIELDS):
        for generator in loops:
            generator.send(None)
    return TASKS * YIELDS


def our_yield() -> int:
    def loop() -> Routine:
        for _ in range(YIELDS):
            yield

    def main() -> Routine:
        for _ in range(TASKS):
            yield spawn(loop())

    run(main())
    return TASKS * YIELDS


def our_spawn_join() -> int:
    def child() -> Routine:
        return 1
        yield

    def main() -> Routine:
        for _ in range(SPAWNS):
            yield (yield spawn(child()))

    run(main())
    return SPAWNS


def our_hop() -> int:
    channel: Channel[int] = Channel(1)

    def producer() -> Routine:
        for number in range(HOPS):
            yield channel.send(number)

    def main() -> Routine:
        yield spawn(producer())
        for _ in range(HOPS):
            yield channel.recv()

    run(main())
    return HOPS


def our_sleep() -> int:
    def sleeper() -> Routine:
        yield sleep(1)

    def main() -> Routine:
        for _ in range(SLEEPERS):
            yield spawn(sleeper())

    run(main())
    return SLEEPERS


async def their_yield() -> int:
    import asyncio

    async def loop() -> None:
        for _ in range(YIELDS):
            await asyncio.sleep(0)

    await asyncio.gather(*[loop() for _ in range(TASKS)])
    return TASKS * YIELDS


async def their_spawn_join() -> int:
    import asyncio

    async def child() -> int:
        return 1

    for _ in range(SPAWNS):
        await asyncio.create_task(child())
    return SPAWNS


async def their_hop() -> int:
    import asyncio

    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def producer() -> None:
        for number in range(HOPS):
            await queue.put(number)

    task = asyncio.create_task(producer())
    for _ in range(HOPS):
        await queue.get()
    await task
    return HOPS


async def their_sleep() -> int:
    import asyncio

    await asyncio.gather(*[asyncio.sleep(1) for _ in range(SLEEPERS)])
    return SLEEPERS


WORK: dict[str, tuple[Callable[[], int], Callable[[], Any], float]] = {
    # name: (ours, asyncio's, the prototype's ns in docs/design.md)
    "bare yield": (our_yield, their_yield, 72),
    "spawn + join": (our_spawn_join, their_spawn_join, 1500),
    "channel hop": (our_hop, their_hop, 890),
    "sleep, 100,000 at once": (our_sleep, their_sleep, 3700),
}


def measure(work: str, contender: str) -> float:
    """Nanoseconds of CPU an operation."""
    ours, theirs, _ = WORK[work]
    do: Callable[[], int] = ours
    if contender == "floor":
        do = floor_yield
    elif contender != "microthreads":
        runner = __import__(contender)
        do = lambda: runner.run(theirs())  # noqa: E731
    gc.collect()
    before = time.process_time()
    operations = do()
    return (time.process_time() - before) / operations * 1e9


if __name__ == "__main__":
    print(measure(*sys.argv[1:]))
