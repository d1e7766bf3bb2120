"""Rule 7: async generators end.

One that is left before its end runs its `finally`, with its awaits: when nobody can iterate
over it any more, or at the latest when `run` ends. The hooks by which Python tells of that
are those of the kernel while it runs, and then again whose they were.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import aclosing
from typing import Any

import pytest

from microthreads import Cancelled, Kernel, move_on_after, now, run, sleep, spawn
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]
Rows = AsyncIterator[int]


async def rows(log: list[Any], clean_up: float = 1) -> Rows:
    try:
        for number in range(5):
            await sleep(0)
            yield number
    finally:
        log.append("clean-up begins")
        await sleep(clean_up)
        log.append(("clean-up ends", now()))


ENDED = ["clean-up begins", ("clean-up ends", 1)]


# ---- ways to leave one


async def left_by_break(source: Callable[[], Rows]) -> None:
    async for _ in source():
        break


async def left_by_return(source: Callable[[], Rows]) -> int:
    async for number in source():
        return number
    return -1


async def left_by_an_error(source: Callable[[], Rows]) -> None:
    try:
        async for _ in source():
            raise KeyError
    except KeyError:
        pass


async def left_by_anext(source: Callable[[], Rows]) -> None:
    await anext(aiter(source()))


async def left_in_a_task(source: Callable[[], Rows]) -> None:
    await (await spawn(left_by_break(source)))


WAYS = [left_by_break, left_by_return, left_by_an_error, left_by_anext, left_in_a_task]
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
@pytest.mark.parametrize("main_goes_on", [True, False])
def test_one_that_is_left_cleans_up_with_its_awaits(
    vrun: Any, way: Any, main_goes_on: bool
) -> None:
    log: list[Any] = []

    async def main() -> None:
        await way(lambda: rows(log))
        if main_goes_on:
            await sleep(10)
            log.append("main ends")

    vrun(main())
    assert log == ENDED + ["main ends"] * main_goes_on


def test_one_that_is_left_by_a_time_limit_cleans_up(vrun: Any) -> None:
    log: list[Any] = []

    async def main() -> None:
        with move_on_after(2):
            async for _ in rows(log):
                await sleep(5)
        await sleep(10)

    vrun(main())
    assert log == ["clean-up begins", ("clean-up ends", 3)]


@every_way
def test_one_inside_of_another_cleans_up_too(vrun: Any, way: Any) -> None:
    log: list[Any] = []

    async def outer() -> Rows:
        try:
            async for number in rows(log, 0):
                yield number
        finally:
            await sleep(0)
            log.append("outer")

    async def main() -> None:
        await way(outer)
        await sleep(1)

    vrun(main())
    assert set(log) == {"clean-up begins", ("clean-up ends", 0), "outer"}
    assert len(log) == 3


def test_aclosing_cleans_up_at_the_end_of_its_block(vrun: Any) -> None:
    log: list[Any] = []

    async def main() -> None:
        async with aclosing(rows(log)) as source:  # type: ignore[type-var]
            async for _ in source:
                break
        log.append(("main", now()))

    vrun(main())
    assert log == [*ENDED, ("main", 1)]


def test_one_that_was_iterated_to_its_end_is_not_ended_twice(vrun: Any) -> None:
    log: list[Any] = []

    async def main() -> Any:
        found = [number async for number in rows(log)]
        await sleep(5)
        return found

    assert vrun(main()) == [0, 1, 2, 3, 4]
    assert log == ENDED


def test_one_that_never_began_has_nothing_to_clean_up(vrun: Any) -> None:
    log: list[Any] = []

    async def main() -> None:
        rows(log)
        await sleep(1)

    vrun(main())
    assert log == []


def test_one_that_is_still_referenced_when_run_ends_is_closed_then(vrun: Any) -> None:
    log: list[Any] = []
    kept: list[Any] = []

    async def main() -> None:
        kept.append(rows(log))
        await anext(kept[0])
        log.append("main ends")

    vrun(main())
    assert log == ["main ends", *ENDED]


def test_one_that_is_referenced_when_run_fails_is_closed_then(vrun: Any) -> None:
    log: list[Any] = []
    kept: list[Any] = []

    async def main() -> None:
        kept.append(rows(log))
        await anext(kept[0])
        raise KeyError("main")

    with pytest.raises(KeyError):
        vrun(main())
    assert log == ENDED


def test_one_that_a_daemon_iterates_over_is_closed_when_run_ends(vrun: Any) -> None:
    log: list[Any] = []

    async def daemon() -> None:
        async for _ in rows(log, 0):
            await sleep(100)

    async def main() -> None:
        await spawn(daemon(), daemon=True)
        await sleep(1)

    vrun(main())
    assert [each if isinstance(each, str) else each[0] for each in log] == [
        "clean-up begins",
        "clean-up ends",
    ]


def test_one_in_a_cycle_is_closed_when_run_ends_or_when_it_is_collected(vrun: Any) -> None:
    log: list[Any] = []

    async def main() -> None:
        cycle: list[Any] = [rows(log)]
        cycle.append(cycle)
        await anext(cycle[0])
        del cycle
        gc.collect()
        await sleep(5)
        log.append("main ends")

    vrun(main())
    assert log == [*ENDED, "main ends"]


def test_one_that_is_collected_in_another_thread_is_ended_in_the_kernels() -> None:
    log: list[Any] = []
    threads: list[int] = []
    kept: list[Any] = []

    async def traced() -> Rows:
        try:
            yield 1
        finally:
            threads.append(threading.get_ident())
            await sleep(0)
            log.append("cleaned up")

    async def main() -> None:
        kept.append(traced())
        await anext(kept[0])
        thread = threading.Thread(target=kept.clear)
        thread.start()
        thread.join()
        await sleep(0.01)
        log.append("main ends")

    run(main())
    assert (log, threads) == (["cleaned up", "main ends"], [threading.get_ident()])


def test_many_that_are_left_all_clean_up(vrun: Any) -> None:
    log: list[Any] = []

    async def main() -> None:
        for _ in range(50):
            await left_by_break(lambda: rows(log, 0))

    vrun(main())
    assert log.count("clean-up begins") == 50
    assert len(log) == 100


# ---- when the clean-up fails, or takes long


def test_a_clean_up_that_fails_is_reported_as_a_crash(vrun: Any) -> None:
    crashed: list[Any] = []

    async def failing() -> Rows:
        try:
            yield 1
        finally:
            await sleep(0)
            raise ValueError("clean-up failed")

    async def main() -> None:
        await left_by_break(failing)
        await sleep(1)

    vrun(main(), on_crash=lambda task: crashed.append((task.name, str(task.exception()))))
    assert crashed == [("aclose failing", "clean-up failed")]


def test_a_clean_up_when_run_ends_that_does_not_end_is_cut_short_after_the_grace(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[Any] = []
    kept: list[Any] = []

    async def endless() -> Rows:
        try:
            yield 1
        finally:
            try:
                await sleep(1e6)
            finally:
                log.append(now())

    async def main() -> None:
        kept.append(endless())
        await anext(kept[0])

    vrun(main(), grace=2)
    assert log == [2]


def test_a_clean_up_when_run_ends_is_shielded_for_the_grace(vrun: Any) -> None:
    log: list[Any] = []
    kept: list[Any] = []

    async def main() -> None:
        kept.append(rows(log, 3))
        await anext(kept[0])

    vrun(main(), grace=5)
    assert log == ["clean-up begins", ("clean-up ends", 3)]


def test_a_cancelled_task_leaves_one_that_cleans_up_in_a_task_of_its_own(vrun: Any) -> None:
    log: list[Any] = []

    async def worker() -> None:
        async for _ in rows(log):
            await sleep(100)

    async def main() -> None:
        task = await spawn(worker())
        await sleep(0.5)
        task.cancel()
        with pytest.raises(Cancelled):
            await task
        del task
        await sleep(10)

    vrun(main())
    assert log == ["clean-up begins", ("clean-up ends", 1.5)]


# ---- the hooks


def mine(generator: Any) -> None:
    """A hook of the program's."""


@pytest.fixture
def own_hooks() -> Any:
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(mine, mine)
    yield sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(*before)


@pytest.mark.parametrize("end", ["result", "error"])
def test_run_puts_the_hooks_back(own_hooks: Any, end: str) -> None:
    log: list[Any] = []

    async def main() -> None:
        log.append(sys.get_asyncgen_hooks() != own_hooks)
        if end == "error":
            raise KeyError

    try:
        run(main())
    except KeyError:
        log.append("error")
    assert log == [True] + ["error"] * (end == "error")
    assert sys.get_asyncgen_hooks() == own_hooks


def test_tick_and_close_put_the_hooks_back_and_close_ends_what_is_left(own_hooks: Any) -> None:
    log: list[Any] = []
    kept: list[Any] = []

    async def task() -> None:
        kept.append(rows(log))
        await anext(kept[0])
        await left_by_break(lambda: rows(log))

    with Kernel(clock=VirtualClock()) as kernel:
        kernel.spawn(task())
        for _ in range(6):
            kernel.tick()
            assert sys.get_asyncgen_hooks() == own_hooks
    assert log.count("clean-up begins") == 2
    assert len(log) == 4
    assert sys.get_asyncgen_hooks() == own_hooks


def test_one_that_is_dropped_between_two_ticks_is_ended_by_the_next_ones(own_hooks: Any) -> None:
    log: list[Any] = []
    kept: list[Any] = []

    async def task() -> None:
        kept.append(rows(log, 0))
        await anext(kept[0])

    with Kernel(clock=VirtualClock()) as kernel:
        kernel.spawn(task())
        for _ in range(4):
            kernel.tick()
        kept.clear()
        for _ in range(4):
            kernel.tick()
        assert log == ["clean-up begins", ("clean-up ends", 0)]


@pytest.mark.parametrize("way", [left_by_break, left_by_anext, left_in_a_task])
def test_run_in_a_running_event_loop_ends_its_own_and_the_loop_hears_nothing(way: Any) -> None:
    log: list[Any] = []
    complaints: list[Any] = []

    async def short() -> Rows:
        try:
            yield 1
            yield 2
        finally:
            await sleep(0)
            log.append("cleaned up")

    async def main() -> None:
        await way(short)
        await sleep(0)

    async def cell() -> None:
        loop, hooks = asyncio.get_running_loop(), sys.get_asyncgen_hooks()
        loop.set_exception_handler(lambda loop, told: complaints.append(told))
        run(main())
        assert sys.get_asyncgen_hooks() == hooks
        await asyncio.sleep(0)

    asyncio.run(cell())
    assert (log, complaints) == (["cleaned up"], [])


def test_one_of_the_event_loop_that_is_dropped_during_run_stays_the_loops() -> None:
    log: list[Any] = []
    kept: list[Any] = []

    async def of_the_loop() -> Rows:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up by asyncio")

    async def main() -> None:
        kept.clear()
        await sleep(0)
        log.append("run ends")

    async def cell() -> None:
        kept.append(of_the_loop())
        await anext(kept[0])
        run(main())
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(cell())
    assert log == ["run ends", "cleaned up by asyncio"]
