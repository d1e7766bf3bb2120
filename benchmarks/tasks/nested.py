"""Nested routines: the same for all who run generators, or coroutines.

`resume` measures a task that takes turns from so many frames down; `call` goes down so
many routines and comes back, with no turn taken. The routines that need nothing of a
contender stand here, so that each runs the same ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any

from benchmarks.tasks import clock
from benchmarks.tasks.clock import Watch

Routine = Generator[Any, Any, Any]


def resume(depth: int, crowd: Callable[[int, int], int]) -> int:
    """So many tasks, so many rounds: as `crowd` has them take turns."""
    return crowd(clock.BUSY, clock.rounds(clock.BUSY, clock.resumes(depth)))


def call(depth: int, do: Callable[[int, int], Any]) -> int:
    """So deep, so often: as `do` does it."""
    repeats = clock.calls(depth)
    do(depth, repeats)
    return repeats * depth


# Generators


def yields(count: int) -> Routine:
    for _ in range(count):
        yield


def deep(depth: int, count: int) -> Routine:
    if depth:
        yield from deep(depth - 1, count)
    else:
        for _ in range(count):
            yield


def nest(depth: int) -> Routine:
    if depth > 1:
        yield from nest(depth - 1)


def calls(depth: int, repeats: int, watch: Watch) -> Routine:
    watch.begin()
    for _ in range(repeats):
        yield from nest(depth)
    watch.end()


# Coroutines


async def deep_await(depth: int, count: int, pause: Callable[[], Awaitable[Any]]) -> None:
    if depth:
        await deep_await(depth - 1, count, pause)
    else:
        for _ in range(count):
            await pause()


async def nest_await(depth: int) -> None:
    if depth > 1:
        await nest_await(depth - 1)


async def calls_await(depth: int, repeats: int, watch: Watch) -> None:
    watch.begin()
    for _ in range(repeats):
        await nest_await(depth)
    watch.end()
