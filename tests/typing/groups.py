"""TaskGroup, gather, race, parallel_map, Supervisor."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, assert_type

from microthreads import (
    Routine,
    Supervisor,
    SystemCall,
    Task,
    TaskGroup,
    gather,
    parallel_map,
    race,
    sleep,
    spawn,
)
from microthreads.groups.supervisor import Child


async def number() -> int:
    return 1


def text() -> Generator[Any, Any, str]:
    yield
    return "text"


async def length(word: str) -> int:
    return len(word)


def halves(whole: int) -> Generator[Any, Any, float]:
    yield
    return whole / 2


def plain(word: str) -> bytes:
    return word.encode()


def later(seconds: float) -> SystemCall[None]:
    return sleep(seconds)


async def groups() -> int:
    async with TaskGroup() as group:
        assert_type(group, TaskGroup)
        task = await group.spawn(number())
        assert_type(task, Task[int])
        assert_type(await task, int)
        assert_type(await group.spawn(text(), name="text", daemon=True), Task[str])
        assert_type(await group.join(), None)
    return task.result()  # bound: a group ends quietly only if it is cancelled


def in_a_generator() -> Generator[Any, Any, int]:
    with TaskGroup() as group:
        task = yield from group.spawn(number())
        assert_type(task, Task[int])
        yield group.join()
    return task.result()


async def returned_in_the_block() -> int:
    async with TaskGroup() as group:
        return await (await group.spawn(number()))


async def gathered(many: list[Routine[int]]) -> None:
    assert_type(await gather(number()), tuple[int])
    assert_type(await gather(number(), text()), tuple[int, str])
    first, second, third = await gather(number(), text(), length("word"))
    assert_type(first, int)
    assert_type(second, str)
    assert_type(third, int)
    four = await gather(number(), text(), number(), text())
    assert_type(four, tuple[int, str, int, str])
    five = await gather(number(), text(), number(), text(), halves(1))
    assert_type(five, tuple[int, str, int, str, float])
    six = await gather(number(), text(), number(), text(), halves(1), text())
    assert_type(six, tuple[int, str, int, str, float, str])
    assert_type(await gather(*many), list[int])
    assert_type(await gather(*[length(word) for word in ("a", "b")]), list[int])


async def raced(many: list[Routine[int]]) -> None:
    assert_type(await race(number()), int)
    assert_type(await race(number(), text()), int | str)
    assert_type(await race(number(), text(), halves(1)), int | str | float)
    assert_type(await race(*many), int)


def in_generators() -> Generator[Any, Any, None]:
    assert_type((yield from gather(number(), text())), tuple[int, str])
    assert_type((yield from race(number(), text())), int | str)
    assert_type((yield from parallel_map(length, ["word"], limit=2)), list[int])


async def mapped(words: list[str]) -> None:
    assert_type(await parallel_map(length, words, limit=2), list[int])
    assert_type(await parallel_map(halves, range(5), limit=2), list[float])
    assert_type(await parallel_map(plain, words, limit=2), list[bytes])
    assert_type(await parallel_map(later, [0.1, 0.2], limit=2), list[None])
    assert_type(await parallel_map(lambda word: length(word), words, limit=2), list[int])
    async with parallel_map(length, words, limit=2) as lengths:
        async for each in lengths:
            assert_type(each, int)
        done = True
    assert done
    assert_type(await (await spawn(parallel_map(length, words, limit=2))), list[int])


async def supervised() -> None:
    supervisor = Supervisor("one_for_all", max_restarts=5)
    assert_type(supervisor.add(number), Child)
    assert_type(supervisor.add(length, "word", name="length", restart="permanent"), Child)
    assert_type(await supervisor.run(), None)
    assert_type(await spawn(supervisor.run()), Task[None])
    assert_type(supervisor.children, list[Child])


# What these return is a routine, as any.


async def as_routines() -> None:
    assert_type(
        await gather(gather(number(), text()), race(number(), number())),
        tuple[tuple[int, str], int],
    )
    assert_type(await spawn(gather(number(), text())), Task[tuple[int, str]])
