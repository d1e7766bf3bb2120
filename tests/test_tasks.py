"""What a task shows of itself, who learns of its end, and who of its failure."""

from __future__ import annotations

import contextlib
import gc
import logging
import traceback
from collections.abc import Generator
from typing import Any

import pytest

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    Kernel,
    State,
    current_task,
    join,
    now,
    select,
    sleep,
    spawn,
)

Gen = Generator[Any, Any, Any]


def nap(seconds: float = 1, value: Any = None) -> Gen:
    yield sleep(seconds)
    return value


def fail(seconds: float = 1, error: BaseException | None = None) -> Gen:
    yield sleep(seconds)
    raise error or KeyError("failed")


def names(task: Any) -> list[str]:
    return [frame.name.rpartition(".")[2] for frame in task.stack()]


# --- attributes -----------------------------------------------------------------------------


def test_ids_count_from_one_in_the_order_of_the_spawns(vrun: Any) -> None:
    def main() -> Gen:
        first = yield spawn(nap())
        second = yield spawn(nap())
        return current_task().id, first.id, second.id

    assert vrun(main()) == (1, 2, 3)


def test_a_task_is_named_after_its_routine_unless_it_is_given_a_name(vrun: Any) -> None:
    def main() -> Gen:
        return (yield spawn(nap())).name, (yield spawn(nap(), name="dozer")).name

    assert vrun(main()) == ("nap", "dozer")


def test_a_task_is_ready_then_parked_then_ready_then_done_and_running_to_itself(vrun: Any) -> None:
    log: list[State] = []

    def child() -> Gen:
        log.append(current_task().state)
        yield sleep(1)

    def main() -> Gen:
        task = yield spawn(child())
        log.append(task.state)
        yield sleep(1)
        yield task
        log.append(task.state)

    vrun(main())
    with contextlib.closing(Kernel()) as kernel:
        log.append(kernel.spawn(nap()).state)
    assert log == [State.RUNNING, State.PARKED, State.DONE, State.READY]


def test_done_says_whether_a_task_has_ended_whichever_way(vrun: Any) -> None:
    def main() -> Gen:
        tasks = []
        for routine in (nap(), fail(), nap(9)):
            tasks.append((yield spawn(routine)))
        before = [task.done for task in tasks]
        tasks[2].cancel()
        for task in tasks:
            with contextlib.suppress(KeyError, Cancelled):
                yield task
        return before, [task.done for task in tasks]

    assert vrun(main()) == ([False] * 3, [True] * 3)


def test_daemon_and_parent_are_known(vrun: Any) -> None:
    def main() -> Gen:
        me = current_task()
        plain = yield spawn(nap())
        daemon = yield spawn(nap(), daemon=True)
        return me.parent, plain.daemon, daemon.daemon, plain.parent is me, daemon.parent is me

    assert vrun(main()) == (None, False, True, True, True)


def test_parent_is_forgotten_once_either_is_done(vrun: Any) -> None:
    def parent() -> Gen:
        return (yield spawn(nap(5)))

    def main() -> Gen:
        orphan = yield (yield spawn(parent()))
        child = yield spawn(nap())
        yield child
        return orphan.done, orphan.parent, child.parent

    assert vrun(main()) == (False, None, None)


def test_waiting_on_is_the_call_a_task_is_parked_on(vrun: Any) -> None:
    channel: Channel[int] = Channel()
    call = channel.recv()

    def receiver() -> Gen:
        assert current_task().waiting_on is None
        yield call

    def main() -> Gen:
        task = yield spawn(receiver())
        seen = task.waiting_on
        yield channel.send(1)
        yield task
        return seen is call, task.waiting_on

    assert vrun(main()) == (True, None)


def test_spawned_at_is_the_line_of_the_spawn(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap())
        return task.spawned_at

    line = test_spawned_at_is_the_line_of_the_spawn.__code__.co_firstlineno + 2
    where = vrun(main())
    assert where.startswith(f"{__file__}:{line} in ")
    assert where.endswith("main")


def test_the_place_of_the_main_task_is_the_line_that_called_run(vrun: Any) -> None:
    def main() -> Gen:
        return current_task().spawned_at
        yield

    where = microthreads.run(main(), clock=microthreads.sim.VirtualClock())
    assert where.startswith(f"{__file__}:")
    assert test_the_place_of_the_main_task_is_the_line_that_called_run.__name__ in where


def test_result_and_exception_refuse_while_the_task_is_not_done(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap())
        with pytest.raises(RuntimeError, match="not done"):
            task.result()
        with pytest.raises(RuntimeError, match="not done"):
            task.exception()

    vrun(main())


def test_result_and_exception_tell_the_outcome(vrun: Any) -> None:
    error = KeyError("failed")

    def main() -> Gen:
        good = yield spawn(nap(1, "value"))
        bad = yield spawn(fail(1, error))
        yield good
        with pytest.raises(KeyError):
            yield bad
        with pytest.raises(KeyError) as caught:
            bad.result()
        return good.result(), good.exception(), bad.exception() is error, caught.value is error

    assert vrun(main()) == ("value", None, True, True)


def test_result_of_a_cancelled_task_raises_cancelled(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap(5))
        task.cancel("enough")
        yield sleep(1)
        with pytest.raises(Cancelled) as caught:
            task.result()
        return caught.value.reason, type(task.exception())

    assert vrun(main()) == ("enough", Cancelled)


def test_stack_shows_all_routines_of_a_task_from_the_outermost_to_the_yield(vrun: Any) -> None:
    async def awaited() -> None:
        await sleep(5)

    def yielded_from() -> Gen:
        yield awaited()

    def yielded() -> Gen:
        yield from yielded_from()

    def top() -> Gen:
        yield yielded()

    def main() -> Gen:
        task = yield spawn(top())
        yield sleep(1)
        seen = names(task)
        yield task
        return seen, task.stack()

    assert vrun(main()) == (["top", "yielded", "yielded_from", "awaited"], [])


def test_stack_of_the_running_task_ends_where_it_stands(vrun: Any) -> None:
    def below() -> Gen:
        yield
        return names(current_task())

    def main() -> Gen:
        return (yield below())

    assert vrun(main()) == ["main", "below"]


def test_stack_of_a_task_that_has_not_begun_is_the_first_line_of_its_routine(vrun: Any) -> None:
    with contextlib.closing(Kernel()) as kernel:
        assert names(kernel.spawn(nap())) == ["nap"]


def test_repr_of_a_task_says_its_number_name_and_state(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap(), name="dozer")
        return repr(task)

    shown = vrun(main())
    assert "2" in shown
    assert "dozer" in shown
    assert "parked" in shown.lower()


def test_a_task_can_be_a_key_of_a_dict(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap())
        other = yield spawn(nap())
        return {task: 1, other: 2}[task]

    assert vrun(main()) == 1


# --- join -----------------------------------------------------------------------------------


def test_join_waits_for_the_end_and_returns_the_result(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap(3, "value"))
        return (yield join(task)), now()

    assert vrun(main()) == ("value", 3)


def test_there_are_five_ways_to_write_a_join(vrun: Any) -> None:
    async def awaits(task: Any) -> Any:
        return await task

    def main() -> Gen:
        task = yield spawn(nap(1, "v"))
        return [
            (yield join(task)),
            (yield task.join()),
            (yield task),
            (yield from task),
            (yield awaits(task)),
        ]

    assert vrun(main()) == ["v"] * 5


def test_a_finished_task_can_be_joined_at_once_and_as_often_as_wanted(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap(1, "v"))
        yield sleep(5)
        values = []
        for _ in range(100):
            values.append((yield task))
        return set(values), now()

    assert vrun(main()) == ({"v"}, 5)


def test_many_may_join_one_task_and_wake_in_the_order_they_came(vrun: Any) -> None:
    log: list[Any] = []

    def joiner(i: int, task: Any) -> Gen:
        log.append((i, (yield task), now()))

    def main() -> Gen:
        task = yield spawn(nap(2, "v"))
        for i in range(5):
            yield spawn(joiner(i, task))

    vrun(main())
    assert log == [(i, "v", 2) for i in range(5)]


def test_joining_a_failed_task_raises_its_very_own_exception(vrun: Any) -> None:
    error = KeyError("mine")

    def main() -> Gen:
        task = yield spawn(fail(1, error))
        seen = []
        for _ in range(3):
            try:
                yield task
            except KeyError as caught:
                seen.append(caught is error)
        return seen

    assert vrun(main()) == [True] * 3


def test_the_traceback_does_not_grow_with_each_joiner(vrun: Any) -> None:
    def joiner(task: Any) -> Gen:
        try:
            yield task
        except KeyError as caught:
            return [frame.name for frame in traceback.extract_tb(caught.__traceback__)]

    def main() -> Gen:
        task = yield spawn(fail())
        joiners, seen = [], []
        for _ in range(5):
            joiners.append((yield spawn(joiner(task))))
        for each in joiners:
            seen.append((yield each))
        for _ in range(5):
            seen.append((yield joiner(task)))
        return seen

    assert vrun(main()) == [["joiner", "fail"]] * 10


def test_the_traceback_does_not_grow_with_result_either(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(fail())
        depths = []
        with contextlib.suppress(KeyError):
            yield task
        for _ in range(5):
            try:
                task.result()
            except KeyError as caught:
                depths.append(len(traceback.extract_tb(caught.__traceback__)))
        return len(set(depths))

    assert vrun(main()) == 1


def test_joining_a_cancelled_task_raises_its_cancelled_and_does_not_cancel_the_joiner(
    vrun: Any,
) -> None:
    def main() -> Gen:
        task = yield spawn(nap(9))
        task.cancel("why")
        try:
            yield task
        except Cancelled as error:
            assert (error.scope, error.reason) == (task, "why")
        yield sleep(1)
        return now()

    assert vrun(main()) == 1


def test_joining_oneself_is_a_runtime_error_that_names_the_task(vrun: Any) -> None:
    def main() -> Gen:
        with pytest.raises(RuntimeError, match="selfish"):
            yield join(current_task())
        yield sleep(1)
        return "goes on"

    def root() -> Gen:
        return (yield (yield spawn(main(), name="selfish")))

    assert vrun(root()) == "goes on"


def test_closing_a_circle_of_joins_is_a_runtime_error_that_names_the_circle(vrun: Any) -> None:
    tasks: dict[str, Any] = {}
    log: list[str] = []

    def member(name: str, other: str) -> Gen:
        yield sleep(ord(name))
        try:
            yield tasks[other]
        except RuntimeError as error:
            log.append(str(error))

    def main() -> Gen:
        for name, other in ["ab", "bc", "ca"]:
            tasks[name] = yield spawn(member(name, other), name=f"member-{name}")

    vrun(main())
    assert len(log) == 1
    assert all(f"member-{name}" in log[0] for name in "abc")


def test_a_circle_through_select_is_no_error_as_another_branch_may_win(vrun: Any) -> None:
    def child(parent: Any) -> Gen:
        yield select(parent, sleep(2))
        return now()

    def main() -> Gen:
        task = yield spawn(child(current_task()))
        return (yield task)

    assert vrun(main()) == 2


def test_a_joiner_that_gives_up_leaves_the_task_alone(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap(3, "v"))
        with microthreads.move_on_after(1) as scope:
            yield task
        return scope.expired, now(), (yield task), now()

    assert vrun(main()) == (True, 1, "v", 3)


def test_a_task_that_returns_an_exception_object_has_not_failed(vrun: Any) -> None:
    error = ValueError("a value")

    def main() -> Gen:
        task = yield spawn(nap(1, error))
        return (yield task) is error, task.exception()

    assert vrun(main()) == (True, None)


def test_a_base_exception_of_a_task_is_its_failure_too(vrun: Any) -> None:
    class Odd(BaseException):
        pass

    def main() -> Gen:
        task = yield spawn(fail(1, Odd()))
        with pytest.raises(Odd):
            yield task
        return now()

    assert vrun(main()) == 1


# --- failures nobody joins --------------------------------------------------------------------


def test_a_failure_nobody_joins_is_reported_at_once_and_once(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield spawn(fail(2), name="bad")
        yield sleep(9)

    vrun(main(), on_crash=lambda task: log.append((task.name, repr(task.exception()), now())))
    assert log == [("bad", "KeyError('failed')", 2)]


def test_a_failure_that_was_reported_can_still_be_joined_and_is_not_reported_again(
    vrun: Any,
) -> None:
    log: list[str] = []

    def main() -> Gen:
        task = yield spawn(fail(), name="bad")
        yield sleep(2)
        with pytest.raises(KeyError):
            yield task

    vrun(main(), on_crash=lambda task: log.append(task.name))
    gc.collect()
    assert log == ["bad"]


def test_a_failure_that_somebody_joins_is_not_reported(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        task = yield spawn(fail())
        with pytest.raises(KeyError):
            yield task
        other = yield spawn(fail())
        with pytest.raises(KeyError):
            yield select(other, sleep(9))
        return now()

    assert vrun(main(), on_crash=lambda task: log.append(task.name)) == 2
    assert log == []


def test_a_failure_whose_joiner_has_given_up_is_reported(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        task = yield spawn(fail(5))
        with microthreads.move_on_after(1):
            yield task
        yield sleep(9)

    vrun(main(), on_crash=lambda task: log.append(now()))
    assert log == [5]


def test_the_failure_of_main_is_raised_by_run_and_not_reported(vrun: Any) -> None:
    log: list[Any] = []
    with pytest.raises(KeyError):
        vrun(fail(), on_crash=log.append)
    assert log == []


def test_a_task_that_ends_by_its_own_cancellation_is_no_failure_to_report(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        task = yield spawn(nap(9))
        task.cancel()
        yield sleep(1)

    vrun(main(), on_crash=log.append)
    assert log == []


def test_an_error_raised_while_being_cancelled_is_a_failure_to_report(vrun: Any) -> None:
    log: list[Any] = []

    def stubborn() -> Gen:
        try:
            yield sleep(9)
        finally:
            raise OSError("clean-up failed")

    def main() -> Gen:
        task = yield spawn(stubborn())
        task.cancel()
        yield sleep(1)

    vrun(main(), on_crash=lambda task: log.append(str(task.exception())))
    assert log == ["clean-up failed"]


def test_by_default_a_crash_is_logged_with_traceback_and_the_place_of_the_spawn(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def main() -> Gen:
        yield spawn(fail(), name="worker")

    line = test_by_default_a_crash_is_logged_with_traceback_and_the_place_of_the_spawn
    vrun(main())
    records = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(records) == 1
    assert records[0].name.startswith("microthreads")
    assert "worker" in caplog.text
    assert "KeyError: 'failed'" in caplog.text
    assert ", in fail" in caplog.text
    assert f"{__file__}:{line.__code__.co_firstlineno + 4}" in caplog.text


def test_the_logged_traceback_has_no_frames_of_the_kernel(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def main() -> Gen:
        yield spawn(fail())

    vrun(main())
    assert microthreads.__path__[0] not in caplog.text


def test_an_on_crash_that_fails_is_logged_with_the_crash_and_the_kernel_goes_on(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def on_crash(task: Any) -> None:
        raise ZeroDivisionError("in on_crash")

    def main() -> Gen:
        yield spawn(fail(1, KeyError("the crash")), name="worker")
        yield sleep(5)
        return now()

    assert vrun(main(), on_crash=on_crash) == 5
    assert "ZeroDivisionError: in on_crash" in caplog.text
    assert "the crash" in caplog.text
    assert "worker" in caplog.text


# --- the lives of generators ------------------------------------------------------------------


def test_the_kernel_keeps_a_task_alive_that_nobody_holds(vrun: Any) -> None:
    log: list[str] = []

    def child() -> Gen:
        yield sleep(1)
        log.append("done")

    def main() -> Gen:
        yield spawn(child())
        gc.collect()
        yield sleep(2)

    vrun(main())
    assert log == ["done"]


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_a_live_generator_is_ended_by_throwing_and_never_closed(vrun: Any, nested: bool) -> None:
    log: list[str] = []

    def child() -> Gen:
        try:
            yield sleep(100)
        except BaseException as error:
            log.append(type(error).__name__)
            raise

    def outer() -> Gen:
        try:
            yield child() if nested else sleep(100)
        except BaseException as error:
            log.append(type(error).__name__)
            raise

    def main() -> Gen:
        yield spawn(outer(), daemon=True)
        task = yield spawn(outer())
        yield sleep(1)
        task.cancel()

    vrun(main())
    gc.collect()
    assert log == ["Cancelled"] * (4 if nested else 2)


def test_a_finished_task_lets_go_of_its_routine(vrun: Any) -> None:
    import weakref

    class Big:
        pass

    refs: list[Any] = []

    def child() -> Gen:
        big = Big()
        refs.append(weakref.ref(big))
        yield sleep(1)
        return id(big) and None

    def main() -> Gen:
        task = yield spawn(child())
        yield task
        gc.collect()
        return refs[0]() is None and task.done

    assert vrun(main()) is True


def test_thousands_of_finished_tasks_leave_nothing_behind(vrun: Any) -> None:
    def main() -> Gen:
        def live() -> int:
            gc.collect()
            return sum(isinstance(o, microthreads.Task) for o in gc.get_objects())

        before = live()
        for _ in range(2000):
            yield (yield spawn(nap(0)))
        return live() - before

    assert vrun(main()) <= 2
