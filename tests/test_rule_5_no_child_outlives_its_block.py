"""Rule 5: a child does not outlive its block.

A task that ends inside the block of a group, or inside other open blocks, has the children
cancelled and waited for, and it is said what was left open. What a daemon starts is a daemon
to the program. And there is one rule for whose a `Cancelled` is: one's own is no failure,
that of a task that one joined is an error like others.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import types
from collections.abc import Generator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from microthreads import (
    Cancelled,
    TaskGroup,
    current_task,
    gather,
    join,
    move_on_after,
    now,
    race,
    run,
    serve,
    shield,
    sleep,
    spawn,
    timeout,
)

Gen = Generator[Any, Any, Any]


def background(log: list[Any], seconds: float = 100, clean_up: float = 0) -> Gen:
    try:
        yield sleep(seconds)
        log.append("slept")
    finally:
        with shield(100):
            yield sleep(clean_up)
        log.append(("background ended", now()))


# ---- ended inside the block of a group


def leaving_a_stack(children: list[Gen]) -> Gen:
    """Ends inside the block of a group, whose exit stack nobody closes."""
    group = ExitStack().enter_context(TaskGroup())
    for child in children:
        yield group.spawn(child)
    return "value"


async def async_leaving_a_stack(children: list[Gen]) -> str:
    group = await AsyncExitStack().enter_async_context(TaskGroup())
    for child in children:
        await group.spawn(child)
    return "value"


def leaving_nested_groups(children: list[Gen]) -> Gen:
    for child in children:
        group = TaskGroup()
        group.__enter__()
        yield group.spawn(child)
    return "value"


def leaving_a_group_in_a_timeout(children: list[Gen]) -> Gen:
    timeout(50).__enter__()
    yield from leaving_a_stack(children)
    move_on_after(50).__enter__()
    return "value"


CARELESS = [
    leaving_a_stack,
    async_leaving_a_stack,
    leaving_nested_groups,
    leaving_a_group_in_a_timeout,
]
every_careless = pytest.mark.parametrize("careless", CARELESS)


@every_careless
def test_a_task_that_ends_inside_a_group_ends_the_children_and_has_failed(
    vrun: Any, careless: Any
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        task = yield spawn(careless([background(log), background(log)]), name="careless")
        try:
            yield task
        except RuntimeError as error:
            log.append(("joined", now(), str(error)))

    vrun(main())
    assert log[:2] == [("background ended", 0)] * 2
    assert log[2][:2] == ("joined", 0)
    assert "careless ended inside" in log[2][2]
    assert "TaskGroup" in log[2][2]
    assert "left open" in log[2][2]


@every_careless
def test_such_a_task_is_not_done_before_its_children_have_cleaned_up(
    vrun: Any, careless: Any
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        task = yield spawn(careless([background(log, clean_up=3), background(log, clean_up=2)]))
        with pytest.raises(RuntimeError):
            yield task
        log.append(("joined", now()))

    vrun(main())
    assert log == [("background ended", 2), ("background ended", 3), ("joined", 3)]


@every_careless
def test_a_group_outside_waits_for_the_children_of_a_careless_child(
    vrun: Any, careless: Any
) -> None:
    log: list[Any] = []

    async def main() -> None:
        try:
            async with TaskGroup() as group:
                await group.spawn(careless([background(log, clean_up=3)]))
        except* RuntimeError:
            log.append(("outer block", now()))

    vrun(main())
    assert log == [("background ended", 3), ("outer block", 3)]


@every_careless
def test_nobody_joins_a_careless_task_and_it_is_reported_once(vrun: Any, careless: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield spawn(careless([background(log)]), name="careless")
        yield sleep(5)

    vrun(main(), on_crash=lambda task: log.append(("crashed", task.name)))
    assert log == [("background ended", 0), ("crashed", "careless")]


@every_careless
def test_a_failing_child_of_a_careless_task_is_told(vrun: Any, careless: Any) -> None:
    def failing() -> Gen:
        try:
            yield sleep(100)
        finally:
            raise ValueError("clean-up failed")

    def main() -> Gen:
        task = yield spawn(careless([failing()]))
        try:
            yield task
        except BaseException as error:
            return told_in(error)

    found = vrun(main())
    assert ("ValueError" in found, "RuntimeError" in found) == (True, True)


def told_in(error: BaseException) -> set[str]:
    """The kinds of all errors in a group, or of the one."""
    if isinstance(error, BaseExceptionGroup):
        return set().union(*map(told_in, error.exceptions))
    return {type(error).__name__}


def test_a_task_that_fails_inside_a_group_keeps_its_error_with_a_note(vrun: Any) -> None:
    log: list[Any] = []

    def careless() -> Gen:
        group = ExitStack().enter_context(TaskGroup())
        yield group.spawn(background(log, clean_up=2))
        raise KeyError("mine")

    def main() -> Gen:
        task = yield spawn(careless())
        with pytest.raises(KeyError, match="mine") as caught:
            yield task
        return now(), "left open" in " ".join(caught.value.__notes__)

    assert vrun(main()) == (2, True)
    assert log == [("background ended", 2)]


@pytest.mark.parametrize("block", [timeout, move_on_after])
def test_a_task_that_ends_inside_a_plain_block_keeps_its_value_and_it_is_logged(
    vrun: Any, as_task: Any, block: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def careless() -> Gen:
        block(50).__enter__()
        yield sleep(1)
        return "value"

    def main() -> Gen:
        task = yield spawn(as_task(careless()), name="careless")
        value = yield task
        yield sleep(100)
        return value, now()

    assert vrun(main()) == ("value", 101)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "careless ended inside" in caplog.text


def test_main_that_ends_inside_a_group_ends_the_children_and_run_raises(vrun: Any) -> None:
    log: list[Any] = []
    with pytest.raises(RuntimeError, match="left open"):
        vrun(leaving_a_stack([background(log)]))
    assert log == [("background ended", 0)]


def test_a_careless_task_that_is_cancelled_was_cancelled_and_its_children_are_ended(
    vrun: Any,
) -> None:
    log: list[Any] = []

    def careless() -> Gen:
        yield from leaving_a_stack([background(log, clean_up=1)])
        yield sleep(100)

    def main() -> Gen:
        task = yield spawn(careless())
        yield sleep(5)
        task.cancel("enough")
        with pytest.raises(Cancelled, match="enough"):
            yield task
        return now()

    assert vrun(main()) == 6
    assert log == [("background ended", 6)]


def test_a_routine_that_ends_inside_a_group_leaves_it_to_its_task(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield leaving_a_stack([background(log, seconds=3)])
        yield sleep(10)

    with pytest.raises(RuntimeError, match="left open"):
        vrun(main())
    assert log == ["slept", ("background ended", 3)]


# ---- all failures are told


def test_when_children_fail_at_their_first_step_in_one_turn_every_error_is_told(vrun: Any) -> None:
    async def bad(error: Exception) -> None:
        raise error

    async def main() -> None:
        async with TaskGroup() as group:
            for error in (ValueError("one"), KeyError("other"), OSError("third")):
                await group.spawn(bad(error))

    def main_first(ready: list[Any]) -> int:
        names = [task.name for task in ready]
        return names.index("main") if "main" in names else len(names) - 1

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main(), policy=main_first)
    assert told_in(caught.value) == {"ValueError", "KeyError", "OSError"}


# ---- whose cancellation it is


@types.coroutine
def cancelled_by_another(log: list[Any]) -> Gen:
    """A task that somebody cancels in a second."""
    task = yield spawn(background(log))

    def canceller() -> Gen:
        yield sleep(1)
        task.cancel("by another")

    yield spawn(canceller())
    return task


def joiner(task: Any) -> Gen:
    yield task


async def async_joiner(task: Any) -> None:
    await task


def yielding_joiner(task: Any) -> Gen:
    yield joiner(task)


every_joiner = pytest.mark.parametrize("join_it", [joiner, async_joiner, yielding_joiner])


@every_joiner
@pytest.mark.parametrize("how", ["group", "gather"])
def test_a_child_that_joins_what_another_cancels_fails_with_a_runtime_error(
    vrun: Any, join_it: Any, how: str
) -> None:
    async def grouped(task: Any) -> None:
        async with TaskGroup() as group:
            await group.spawn(join_it(task))

    def main() -> Gen:
        task = yield cancelled_by_another([])
        try:
            yield grouped(task) if how == "group" else gather(join_it(task))
        except BaseException as error:
            return error

    error = vrun(main())
    assert type(error) is ExceptionGroup
    (failure,) = error.exceptions
    assert (type(failure), type(failure.__cause__)) == (RuntimeError, Cancelled)
    assert failure.__cause__.reason == "by another"


@every_joiner
def test_except_star_exception_catches_that(vrun: Any, join_it: Any) -> None:
    log: list[Any] = []

    async def main() -> None:
        task = await cancelled_by_another([])
        try:
            async with TaskGroup() as group:
                await group.spawn(join_it(task))
                await group.spawn(background(log))
        except* Exception as errors:
            log.append((len(errors.exceptions), now()))

    vrun(main())
    assert log == [("background ended", 1), (1, 1)]


def test_the_block_of_a_group_that_joins_what_another_cancels_fails_with_a_runtime_error(
    vrun: Any,
) -> None:
    async def main() -> Any:
        task = await cancelled_by_another([])
        try:
            async with TaskGroup() as group:
                await group.spawn(failing(2))
                await task
        except BaseException as error:
            return type(error), now()

    async def failing(seconds: float) -> None:
        try:
            await sleep(seconds)
        finally:
            raise ValueError

    kind, time = vrun(main())
    assert (issubclass(kind, Exception), time) == (True, 1)


@every_joiner
def test_a_task_that_was_cancelled_itself_and_gets_anothers_cancellation_was_cancelled(
    vrun: Any, join_it: Any
) -> None:
    crashed: list[Any] = []

    def worker(task: Any) -> Gen:
        with shield(100):
            yield join_it(task)

    def main() -> Gen:
        task = yield cancelled_by_another([])
        worker_task = yield spawn(worker(task), name="worker")
        yield
        worker_task.cancel("its own")
        with pytest.raises(Cancelled) as caught:
            yield worker_task
        return caught.value.scope is worker_task, caught.value.reason, now()

    assert vrun(main(), on_crash=crashed.append) == (True, "its own", 1)
    assert crashed == []


@every_joiner
def test_a_child_that_is_cancelled_with_its_group_while_it_joins_is_no_failure(
    vrun: Any, join_it: Any
) -> None:
    async def main() -> Any:
        task = await spawn(background([], seconds=5))
        async with TaskGroup() as group:
            await group.spawn(join_it(task))
            await sleep(1)
            group.cancel()
        return now(), task.done

    assert vrun(main()) == (1, False)


def test_a_foreign_cancellation_in_a_lone_task_is_a_crash_that_names_both(vrun: Any) -> None:
    crashed: list[str] = []

    def main() -> Gen:
        task = yield cancelled_by_another([])
        yield spawn(joiner(task), name="joiner")
        yield sleep(5)

    vrun(main(), on_crash=lambda task: crashed.append(str(task.exception())))
    assert len(crashed) == 1
    assert "joiner" in crashed[0]
    assert "background" in crashed[0]


def test_race_whose_winner_joins_what_another_cancels_raises_a_runtime_error(vrun: Any) -> None:
    def main() -> Gen:
        task = yield cancelled_by_another([])
        with pytest.raises(RuntimeError) as caught:
            yield race(joiner(task), background([]))
        return type(caught.value.__cause__), now()

    assert vrun(main()) == (Cancelled, 1)


def test_a_cancelled_child_that_ends_by_except_star_is_no_failure_of_its_group(vrun: Any) -> None:
    async def child() -> None:
        try:
            await sleep(100)
        except* Cancelled:
            raise

    async def main() -> Any:
        async with TaskGroup() as group:
            task = await group.spawn(child())
            await sleep(1)
            task.cancel()
        return now()

    assert vrun(main()) == 1


def test_a_joiner_of_a_task_that_was_cancelled_can_catch_that_and_go_on(vrun: Any) -> None:
    async def main() -> Any:
        task = await cancelled_by_another([])
        try:
            await join(task)
        except Cancelled as error:
            await sleep(1)
            return error.scope is task, current_task().cancel_requested

    assert vrun(main()) == (True, False)


# ---- daemons


def test_the_children_of_a_daemon_do_not_keep_the_program_alive(vrun: Any) -> None:
    log: list[Any] = []

    async def daemon() -> None:
        async with TaskGroup() as group:
            await group.spawn(background(log))

    def main() -> Gen:
        yield spawn(daemon(), daemon=True)
        yield sleep(1)

    vrun(main())
    assert log == [("background ended", 1)]


@contextlib.contextmanager
def a_client(address: Any) -> Any:
    with socket.create_connection(address) as client:
        client.settimeout(5)
        yield client


@pytest.mark.parametrize("kind", ["function", "generator", "coroutine"])
def test_a_daemon_server_ends_with_main_though_a_client_is_idle(kind: str) -> None:
    log: list[str] = []

    def generator(stream: Any) -> Gen:
        log.append("served")
        try:
            yield stream.readline()
        finally:
            log.append("handler ended")

    async def coroutine(stream: Any) -> None:
        await generator_in_a_task(stream)

    async def generator_in_a_task(stream: Any) -> None:
        log.append("served")
        try:
            await stream.readline()
        finally:
            log.append("handler ended")

    handlers = {"function": lambda stream: generator(stream), "generator": generator}

    def main() -> Gen:
        found: list[Any] = []
        routine = serve(handlers.get(kind, coroutine), "127.0.0.1", 0, ready=found.extend, grace=0)
        yield spawn(routine, daemon=True)
        while not found:
            yield
        stack.enter_context(a_client(found[0]))
        while not log:
            yield
        return found[0]

    with ExitStack() as stack:
        address = run(main(), grace=0.5)
        assert log == ["served", "handler ended"]
        with pytest.raises(ConnectionRefusedError):
            stack.enter_context(a_client(address))


def test_a_daemon_server_accepts_nobody_new_while_its_handlers_clean_up() -> None:
    served: list[Any] = []

    async def handler(stream: Any) -> None:
        served.append(stream)
        try:
            await stream.readline()
        finally:
            with shield(0.15):
                await sleep(10)

    async def main() -> None:
        found: list[Any] = []
        await spawn(serve(handler, "127.0.0.1", 0, ready=found.extend, grace=0), daemon=True)
        while not found:
            await sleep(0)
        stack.enter_context(a_client(found[0]))
        while not served:
            await sleep(0)
        timer = threading.Timer(0.05, connect, found)
        stack.callback(timer.join)
        timer.start()

    def connect(address: Any) -> None:
        client = stack.enter_context(contextlib.closing(socket.socket()))
        client.connect_ex(address)

    with ExitStack() as stack:
        run(main(), grace=0.3)
    assert len(served) == 1
