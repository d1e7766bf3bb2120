"""Locks, and what is like them."""

from __future__ import annotations

from typing import Literal, assert_type

from microthreads import Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore
from microthreads.sync.waiting import Guard


async def locks(lock: Lock, again: RLock) -> None:
    assert_type(await lock.acquire(), Guard[Lock])
    assert_type(await again.acquire(), Guard[RLock])
    assert_type(await lock.acquire(timeout=1), Guard[Lock] | Literal[False])
    assert_type(await lock.acquire(False), Guard[Lock] | Literal[False])
    assert_type(await lock.acquire(blocking=False), Guard[Lock] | Literal[False])
    with await lock.acquire() as held:
        assert_type(held, Lock)
    with await again.acquire() as held_again:
        assert_type(held_again, RLock)
    async with lock as held:
        assert_type(held, Lock)
    async with again as held_again:
        assert_type(held_again, RLock)
    guard = await lock.acquire(timeout=1)
    if guard:
        with guard:
            assert_type(guard, Guard[Lock])
    assert_type(lock.locked(), bool)


async def guarded(lock: Lock) -> int:
    with await lock.acquire():
        return 1


async def semaphores(semaphore: Semaphore, bounded: BoundedSemaphore) -> int:
    assert_type(await semaphore.acquire(), Guard[Semaphore])
    assert_type(await semaphore.acquire(timeout=1), Guard[Semaphore] | Literal[False])
    async with bounded as held:
        assert_type(held, BoundedSemaphore)
    with await semaphore.acquire() as permit:
        assert_type(permit, Semaphore)
        return 1


async def conditions(condition: Condition, queue: list[int]) -> None:
    async with condition as held:
        assert_type(held, Condition)
        assert_type(await condition.wait(), bool)
        assert_type(await condition.wait(timeout=1), bool)
        assert_type(await condition.wait_for(lambda: len(queue)), int)
        assert_type(await condition.wait_for(queue.copy, timeout=1), list[int])
    with await condition.acquire() as lock:
        assert_type(lock, Lock)


async def moments(event: Event, barrier: Barrier) -> None:
    assert_type(await event.wait(), bool)
    assert_type(await event.wait(1), bool)
    assert_type(await barrier.wait(), int)
