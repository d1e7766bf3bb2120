"""Rule 4: a task always begins, and a spawn that does not happen closes its routine.

A cancellation meets a task at its first yield, also when it came before the first step. So
the `finally` of ``spawn(handler(connection))`` closes the connection whatever happens:
every yield is a cancel point, and nothing else is. And what was handed over to be started,
and is not, is closed at once: Python never warns that it was not awaited.
"""

from __future__ import annotations

import gc
import inspect
import socket
import warnings
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest
from helpers import errors_of

from microthreads import (
    Cancelled,
    Channel,
    Kernel,
    TaskGroup,
    current_task,
    gather,
    listen,
    move_on_after,
    now,
    open_connection,
    parallel_map,
    race,
    run,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]


# ---- a task always begins


def visit(log: list[Any], shielded: float = 0) -> Gen:
    """A task that says how far it came."""
    try:
        log.append("began")
        yield sleep(5)
        log.append("slept")
    finally:
        if shielded:
            with shield(100):
                yield sleep(shielded)
        log.append(("cleaned up", now()))


def test_a_task_cancelled_before_its_first_step_begins_and_cleans_up(
    vrun: Any, as_task: Any
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        task = current_task().kernel.spawn(as_task(visit(log)))
        task.cancel("too early")
        with pytest.raises(Cancelled, match="too early"):
            yield task

    vrun(main())
    assert log == ["began", ("cleaned up", 0)]


def test_its_clean_up_may_take_time_behind_a_shield(vrun: Any, as_task: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        current_task().kernel.spawn(as_task(visit(log, 2))).cancel()
        yield sleep(10)

    vrun(main())
    assert log == ["began", ("cleaned up", 2)]


def test_the_finally_of_a_task_cancelled_early_closes_its_socket(vrun: Any, as_task: Any) -> None:
    near, far = socket.socketpair()
    far.settimeout(1)

    def handler(connection: socket.socket) -> Gen:
        try:
            yield sleep(5)
        finally:
            connection.close()

    def main() -> Gen:
        task = current_task().kernel.spawn(as_task(handler(near)))
        task.cancel()
        yield sleep(1)
        return near.fileno(), far.recv(1)

    with far:
        assert vrun(main()) == (-1, b"")


@pytest.mark.forgets
def test_a_routine_that_swallows_an_early_cancellation_meets_it_again_and_may_return(
    vrun: Any, as_task: Any
) -> None:
    log: list[str] = []

    def stubborn() -> Gen:
        for number in range(3):
            try:
                yield sleep(5)
                log.append("slept")
            except Cancelled:
                log.append(f"told {number}")
        return "value"

    def main() -> Gen:
        task = current_task().kernel.spawn(as_task(stubborn()))
        task.cancel()
        return (yield task), now()

    assert vrun(main()) == ("value", 0)
    assert log == ["told 0", "told 1", "told 2"]


def test_a_task_without_a_yield_is_never_cancelled(vrun: Any) -> None:
    async def quick() -> str:
        return "value"

    def main() -> Gen:
        task = current_task().kernel.spawn(quick())
        task.cancel()
        return (yield task)

    assert vrun(main()) == "value"


def main_first(ready: list[Any]) -> int:
    """The policy: so main has spawned several before the first of them begins."""
    names = [task.name for task in ready]
    return names.index("main") if "main" in names else 0


def test_a_child_whose_sibling_fails_before_it_has_begun_begins(vrun: Any, as_task: Any) -> None:
    log: list[Any] = []

    async def failing() -> None:
        raise ValueError("at once")

    async def main() -> None:
        async with TaskGroup() as group:
            await group.spawn(failing())
            await group.spawn(as_task(visit(log)))

    with pytest.raises(ExceptionGroup, match="1 failure"):
        vrun(main(), policy=main_first)
    assert log == ["began", ("cleaned up", 0)]


def test_the_children_of_a_group_that_is_cancelled_before_they_begin_all_begin(
    vrun: Any, as_task: Any
) -> None:
    log: list[Any] = []

    async def main() -> None:
        async with TaskGroup() as group:
            for _ in range(3):
                await group.spawn(as_task(visit(log)))
            group.cancel()

    vrun(main(), policy=main_first)
    assert log == ["began"] * 3 + [("cleaned up", 0)] * 3


@pytest.mark.parametrize("daemon", [True, False])
def test_a_task_spawned_into_a_kernel_that_is_closed_then_begins(
    as_task: Any, daemon: bool
) -> None:
    log: list[Any] = []
    with Kernel(clock=VirtualClock()) as kernel:
        kernel.spawn(as_task(visit(log)), daemon=daemon)
    assert log == ["began", ("cleaned up", 0)]


def test_a_daemon_that_is_spawned_last_of_all_begins(vrun: Any, as_task: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        current_task().kernel.spawn(as_task(visit(log)), daemon=True)
        return "result"
        yield

    assert vrun(main()) == "result"
    assert log == ["began", ("cleaned up", 0)]


def test_a_task_whose_parent_fails_at_once_begins(vrun: Any, as_task: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        current_task().kernel.spawn(as_task(visit(log)))
        raise KeyError("main")
        yield

    with pytest.raises(KeyError):
        vrun(main())
    assert log == ["began", ("cleaned up", 0)]


# ---- a spawn that does not happen closes its routine


def generator() -> Gen:
    yield sleep(1)


async def coroutine() -> None:
    await sleep(1)


every_form = pytest.mark.parametrize("form", [generator, coroutine])


def closed(*routines: Any) -> list[bool]:
    """Whether each of them was closed, and has never begun."""
    return [
        inspect.getgeneratorstate(each) == inspect.GEN_CLOSED
        if inspect.isgenerator(each)
        else inspect.getcoroutinestate(each) == inspect.CORO_CLOSED
        for each in routines
    ]


def in_a_cancelled_task(vrun: Any, make: Any) -> None:
    """Yield what `make` returns in a task that is cancelled."""

    def worker() -> Gen:
        current_task().cancel()
        yield make()

    def main() -> Gen:
        with pytest.raises(Cancelled):
            yield (yield spawn(worker()))

    vrun(main())


HANDED: dict[str, Any] = {
    "spawn": spawn,
    "select over a spawn": lambda routine: select(spawn(routine), sleep(1)),
    "select over selects": lambda routine: select(sleep(1), select(sleep(2), spawn(routine))),
    "gather": gather,
    "race": race,
    "itself": lambda routine: routine,
}


@every_form
@pytest.mark.parametrize("call", HANDED)
def test_what_a_cancelled_task_would_have_started_is_closed(
    vrun: Any, form: Any, call: str
) -> None:
    routine = form()
    in_a_cancelled_task(vrun, lambda: HANDED[call](routine))
    assert closed(routine) == [True]


@every_form
@pytest.mark.parametrize("call", ["gather", "race"])
def test_gather_and_race_in_a_cancelled_task_close_all_that_they_were_given(
    vrun: Any, form: Any, call: str
) -> None:
    routines = [form() for _ in range(3)]
    in_a_cancelled_task(vrun, lambda: HANDED[call](*routines))
    assert closed(*routines) == [True] * 3


@every_form
@pytest.mark.parametrize("call", ["spawn", "gather", "race", "select over a spawn"])
def test_what_a_cancelled_coroutine_awaits_closes_it_as_well(
    vrun: Any, form: Any, call: str
) -> None:
    routine = form()

    async def worker() -> None:
        current_task().cancel()
        await HANDED[call](routine)

    async def main() -> None:
        with pytest.raises(Cancelled):
            await (await spawn(worker()))

    vrun(main())
    assert closed(routine) == [True]


@every_form
def test_gather_that_is_cancelled_while_it_spawns_closes_those_it_has_not_spawned(
    vrun: Any, form: Any
) -> None:
    log: list[str] = []
    late = [form() for _ in range(3)]

    def first(task: Any) -> Gen:
        task.cancel()
        log.append("began")
        yield

    def worker() -> Gen:
        yield gather(first(current_task()), *late)

    def main() -> Gen:
        with pytest.raises(Cancelled):
            yield (yield spawn(worker()))

    vrun(main())
    assert (log, closed(*late)) == (["began"], [True] * 3)


@every_form
@pytest.mark.parametrize("block", [timeout, move_on_after])
def test_a_spawn_in_a_block_whose_time_is_over_closes_its_routine(
    vrun: Any, form: Any, block: Any
) -> None:
    routine = form()

    def main() -> Gen:
        with suppress(TimeoutError), block(0):
            yield spawn(routine)

    vrun(main())
    assert closed(routine) == [True]


@every_form
def test_a_spawn_that_loses_in_a_select_closes_its_routine(vrun: Any, form: Any) -> None:
    routine, other = form(), form()

    def main() -> Gen:
        first = yield select(sleep(0), spawn(routine))
        channel: Channel[int] = Channel(1)
        channel.try_send(1)
        second = yield select(channel.recv(), select(Channel[int]().recv(), spawn(other)))
        return first, second

    assert vrun(main()) == ((0, None), (0, 1))
    assert closed(routine, other) == [True, True]


@every_form
@pytest.mark.parametrize("state", ["left", "not entered", "cancelled"])
def test_a_spawn_that_a_group_refuses_closes_its_routine(vrun: Any, form: Any, state: str) -> None:
    routine = form()

    def main() -> Gen:
        group = TaskGroup()
        if state == "left":
            with group:
                yield
        if state != "cancelled":
            yield group.spawn(routine)
        with group, shield(10):
            group.cancel()
            yield group.spawn(routine)

    def refused() -> Gen:
        try:
            yield main()
        except* RuntimeError as errors:
            found = errors_of(errors)
        return found

    assert "cannot spawn" in vrun(refused())[0]
    assert closed(routine) == [True]


@every_form
@pytest.mark.parametrize("verb", ["spawn", "submit"])
def test_a_closed_kernel_that_refuses_a_routine_closes_it(form: Any, verb: str) -> None:
    routine = form()
    kernel = Kernel()
    kernel.close()
    with pytest.raises(RuntimeError, match="closed"):
        getattr(kernel, verb)(routine)
    assert closed(routine) == [True]


@every_form
def test_a_submission_that_is_cancelled_before_it_begins_closes_its_routine(form: Any) -> None:
    routine = form()

    def main() -> Gen:
        yield sleep(0.001)

    with Kernel() as kernel:
        future = kernel.submit(routine)
        future.cancel()
        kernel.run(main())
    assert (closed(routine), future.cancelled()) == ([True], True)


@every_form
def test_a_submission_to_a_kernel_that_is_closed_before_it_begins_closes_its_routine(
    form: Any,
) -> None:
    routine = form()
    with Kernel() as kernel:
        future = kernel.submit(routine)
    assert (closed(routine), type(future.exception(0))) == ([True], RuntimeError)


def test_a_routine_that_a_nested_run_refused_can_be_yielded_as_that_says(vrun: Any) -> None:
    def job() -> Gen:
        yield
        return "done"

    def main() -> Gen:
        routine = job()
        with pytest.raises(RuntimeError, match="yield the routine there"):
            run(routine)
        return (yield routine)

    assert vrun(main()) == "done"


@every_form
def test_parallel_map_in_a_cancelled_task_starts_and_leaves_nothing(vrun: Any, form: Any) -> None:
    made: list[Any] = []

    def function(item: int) -> Any:
        made.append(form())
        return made[-1]

    in_a_cancelled_task(vrun, lambda: parallel_map(function, range(3), limit=2))
    assert closed(*made) == [True] * len(made)


# ---- but what somebody else is using is not touched


def test_a_refused_spawn_of_a_routine_that_a_task_runs_leaves_that_alone(
    vrun: Any, as_task: Any
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        routine = as_task(visit(log))
        task = yield spawn(routine)
        with pytest.raises(RuntimeError, match="is run by"):
            yield spawn(routine)
        with pytest.raises(RuntimeError, match="is run by"):
            current_task().kernel.spawn(routine)
        yield task

    vrun(main())
    assert log == ["began", "slept", ("cleaned up", 5)]


@pytest.mark.parametrize("call", HANDED)
def test_a_cancelled_task_that_would_spawn_what_another_runs_leaves_that_alone(
    vrun: Any, as_task: Any, call: str
) -> None:
    log: list[Any] = []

    def worker(routine: Any) -> Gen:
        current_task().cancel()
        yield HANDED[call](routine)

    def main() -> Gen:
        routine = as_task(visit(log))
        task = yield spawn(routine)
        with pytest.raises(Cancelled):
            yield (yield spawn(worker(routine)))
        yield task

    vrun(main())
    assert log == ["began", "slept", ("cleaned up", 5)]


def test_a_routine_that_was_begun_elsewhere_is_refused_and_not_closed(vrun: Any) -> None:
    def numbers() -> Gen:
        yield 1
        yield 2

    def main() -> Gen:
        begun = numbers()
        next(begun)
        with pytest.raises(RuntimeError, match="already been started"):
            yield spawn(begun)
        return next(begun)

    assert vrun(main()) == 2


# ---- open_connection


@pytest.mark.parametrize("turns", range(-1, 8))
def test_open_connection_cancelled_at_any_moment_leaves_nothing_to_warn_of(turns: int) -> None:
    async def connect(address: Any) -> None:
        if turns < 0:
            current_task().cancel()
        (await open_connection(*address)).close()

    async def main() -> None:
        with listen("127.0.0.1", 0) as listener:
            task = await spawn(connect(listener.getsockname()))
            for _ in range(turns):
                await sleep(0)
            task.cancel()
            with suppress(Cancelled):
                await task

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")
        gc.collect()  # what earlier tests have left
        warnings.simplefilter("always")
        run(main())
        gc.collect()
    assert [str(each.message) for each in told] == []


@pytest.mark.parametrize("call", [gather, race, lambda one, other: select(spawn(one), other)])
def test_what_is_refused_beside_something_else_is_closed(vrun: Any, call: Any) -> None:
    async def job() -> None:
        await sleep(1)

    def main() -> Gen:
        yield
        routine = job()
        with pytest.raises(TypeError):
            yield call(routine, 5)
        return closed(routine)

    assert vrun(main()) == [True]
