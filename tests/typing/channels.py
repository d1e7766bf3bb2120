"""Channels and queues."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, assert_type

from microthreads import Channel, LifoQueue, PriorityQueue, Queue, SystemCall


async def channels(numbers: Channel[int]) -> None:
    assert_type(numbers.recv(), SystemCall[int])
    assert_type(await numbers.recv(), int)
    assert_type(await numbers.send(1), None)
    assert_type(numbers.try_send(1), bool)
    assert_type(numbers.try_recv(), int | None)
    assert_type(numbers.try_recv("nothing"), int | str)
    async for number in numbers:
        assert_type(number, int)
    with numbers as closing:
        assert_type(closing, Channel[int])


def in_a_generator(numbers: Channel[int]) -> Generator[Any, Any, None]:
    assert_type((yield from numbers.recv()), int)
    assert_type((yield numbers.recv()), Any)  # nothing can be known of it


async def queues(queue: Queue[int], stack: LifoQueue[str]) -> None:
    assert_type(await queue.get(), int)
    assert_type(await queue.get(timeout=1), int)
    assert_type(await queue.put(1), None)
    assert_type(await queue.join(), None)
    assert_type(queue.get_nowait(), int)
    assert_type(queue.qsize(), int)
    async for item in queue:
        assert_type(item, int)
    assert_type(await stack.get(), str)
    urgent: PriorityQueue[tuple[int, str]] = PriorityQueue()
    assert_type(await urgent.get(), tuple[int, str])
