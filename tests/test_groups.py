"""Groups: tasks that begin and end together; gather and race, which are made of them."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest
from helpers import (
    ProcessorTime,
    assert_ten_times_as_many_cost_about_ten_times_as_much,
    coroutine_of,
    errors_of,
)

from microthreads import (
    Cancelled,
    DeadlockError,
    Kernel,
    Queue,
    TaskGroup,
    current_task,
    gather,
    join,
    move_on_after,
    now,
    race,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

# ---- children, each as a generator and as a coroutine


def nap(seconds, log=None, name="nap", result=None):
    """Sleep, and log how that ended."""
    log = [] if log is None else log
    try:
        yield sleep(seconds)
        log.append((name, "done"))
    except Cancelled:
        log.append((name, "cancelled"))
        raise
    return result


async def async_nap(*args, **kwargs):
    return await coroutine_of(nap(*args, **kwargs))


def fail(seconds, error):
    yield sleep(seconds)
    raise error


async def async_fail(seconds, error):
    await sleep(seconds)
    raise error


def stubborn(seconds, log, name="stubborn"):
    """Never ends before its clean-up has taken `seconds`."""
    try:
        yield sleep(1000)
    finally:
        with shield(1000):
            yield sleep(seconds)
        log.append((name, "cleaned up", now()))


async def async_stubborn(*args):
    await coroutine_of(stubborn(*args))


def spiteful(error, log=None):
    """Fails when it is cancelled."""
    try:
        yield sleep(1000)
    finally:
        raise error


async def async_spiteful(error, log=None):
    try:
        await sleep(1000)
    finally:
        raise error


class Generators:
    nap, fail, stubborn, spiteful = map(staticmethod, (nap, fail, stubborn, spiteful))


class Coroutines:
    nap, fail, stubborn, spiteful = map(
        staticmethod, (async_nap, async_fail, async_stubborn, async_spiteful)
    )


# ---- hosts: a block with these children, and perhaps a call in it


def host(*children, call=None, group=None):
    with TaskGroup() if group is None else group as group:
        for child in children:
            yield group.spawn(child)
        if call is not None:
            yield call
        yield group.join()
    return "end"


async def async_host(*children, call=None, group=None):
    async with TaskGroup() if group is None else group as group:
        for child in children:
            await group.spawn(child)
        if call is not None:
            await call
    return "end"


every_host = pytest.mark.parametrize("host", [host, async_host])
every_child = pytest.mark.parametrize("children", [Generators, Coroutines])


# ---- the block waits


@every_host
@every_child
def test_a_block_ends_when_its_last_task_has_ended(vrun, host, children):
    log = []

    def main():
        result = yield host(*(children.nap(n, log, n) for n in (3, 1, 2)))
        return result, now()

    assert vrun(main()) == ("end", 3)
    assert log == [(1, "done"), (2, "done"), (3, "done")]


@every_host
def test_a_block_without_tasks_ends_at_once(vrun, host):
    def main():
        return (yield host()), now()

    assert vrun(main()) == ("end", 0)


def test_spawn_returns_the_task_and_the_task_its_result(vrun):
    def main():
        with TaskGroup() as group:
            first = yield group.spawn(nap(1, result="a"))
            second = yield group.spawn(async_nap(2, result="b"))
            yield group.join()
        return first.result(), second.result(), first.parent, (yield join(second))

    assert vrun(main()) == ("a", "b", None, "b")


def test_async_with_makes_the_results_readable_behind_the_block(vrun):
    async def main():
        async with TaskGroup() as group:
            tasks = [await group.spawn(async_nap(n, result=n)) for n in (2, 1)]
        return [task.result() for task in tasks], [await task for task in tasks]

    assert vrun(main()) == ([2, 1], [2, 1])


def test_a_child_runs_before_the_spawn_returns(vrun):
    log = []

    def child():
        log.append("child")
        yield

    def main():
        with TaskGroup() as group:
            log.append("spawning")
            yield group.spawn(child())
            log.append("spawned")
            yield group.join()

    vrun(main())
    assert log == ["spawning", "child", "spawned"]


def test_a_child_can_be_joined_in_the_block(vrun):
    async def main():
        async with TaskGroup() as group:
            task = await group.spawn(nap(1, result="a"))
            return await task, await join(task), await task.join()

    assert vrun(main()) == ("a", "a", "a")


def test_the_return_value_of_a_block_that_returns_waits_for_the_tasks(vrun):
    async def block():
        async with TaskGroup() as group:
            await group.spawn(nap(3))
            return "returned"

    async def main():
        return await block(), now()

    assert vrun(main()) == ("returned", 3)


def test_more_tasks_can_be_spawned_after_a_join(vrun):
    def main():
        with TaskGroup() as group:
            times = []
            for seconds in (1, 2, 3):
                yield group.spawn(nap(seconds))
                yield group.join()
                times.append(now())
            yield group.join()
        return times, now()

    assert vrun(main()) == ([1, 3, 6], 6)


def test_an_async_block_may_join_as_well(vrun):
    async def main():
        async with TaskGroup() as group:
            await group.spawn(nap(1))
            await group.join()
            middle = now()
            await group.spawn(nap(1))
        return middle, now()

    assert vrun(main()) == (1, 2)


def test_a_child_can_spawn_into_its_group(vrun):
    log = []

    def child(group, depth):
        yield sleep(1)
        log.append((depth, now()))
        if depth < 3:
            yield group.spawn(child(group, depth + 1))

    def main():
        with TaskGroup() as group:
            yield group.spawn(child(group, 1))
            yield group.join()
        log.append(("end", now()))

    vrun(main())
    assert log == [(1, 1), (2, 2), (3, 3), ("end", 3)]


def test_a_child_that_spawns_with_its_last_step_keeps_the_block_open(vrun):
    async def child(group, depth):
        if depth:
            await group.spawn(child(group, depth - 1))
        else:
            await sleep(1)

    async def main():
        async with TaskGroup() as group:
            await group.spawn(child(group, 50))
        return now()

    assert vrun(main()) == 1


def test_another_task_can_spawn_into_a_group_and_join_it(vrun):
    log = []

    def outsider(group):
        yield group.spawn(nap(5, log, "the outsider's"))
        yield group.join()
        log.append(("outsider", now()))

    def main():
        with TaskGroup() as group:
            yield group.spawn(nap(1, log, "the host's"))
            yield spawn(outsider(group))
            yield group.join()
            log.append(("host", now()))

    vrun(main())
    assert sorted(log, key=str) == sorted(
        [("the host's", "done"), ("the outsider's", "done"), ("host", 5), ("outsider", 5)], key=str
    )


def test_a_task_that_ended_before_the_join_is_not_waited_for(vrun):
    def main():
        with TaskGroup() as group:
            yield group.spawn(nap(1))
            yield sleep(5)
            yield group.join()
        return now()

    assert vrun(main()) == 5


def test_a_plain_block_whose_tasks_have_all_ended_needs_no_join(vrun):
    def main():
        with TaskGroup() as group:
            yield group.spawn(nap(1))
            yield sleep(5)
        return now()

    assert vrun(main()) == 5


@every_host
def test_groups_nest(vrun, host):
    log = []

    def main():
        inner = [host(nap(n, log, n), nap(n + 1, log, n + 1)) for n in (1, 3)]
        yield host(*inner, nap(6, log, 6))
        return now()

    assert vrun(main()) == 6
    assert log == [(n, "done") for n in (1, 2, 3, 4, 6)]


def test_groups_nest_in_one_task(vrun):
    log = []

    async def main():
        async with TaskGroup() as outer:
            await outer.spawn(nap(5, log, "outer"))
            async with TaskGroup() as inner:
                await inner.spawn(nap(1, log, "inner"))
                await outer.spawn(nap(3, log, "outer, from the inner block"))
            log.append(("inner block", now()))
        log.append(("outer block", now()))

    vrun(main())
    assert log == [
        ("inner", "done"),
        ("inner block", 1),
        ("outer, from the inner block", "done"),
        ("outer", "done"),
        ("outer block", 5),
    ]


def test_a_thousand_groups_nest(vrun):
    async def level(depth):
        async with TaskGroup() as group:
            if depth:
                await group.spawn(level(depth - 1))
            else:
                await sleep(1)
        ended.append((depth, now()))

    async def main():
        await spawn(level(1000))

    ended = []
    vrun(main())
    assert ended == [(depth, 1) for depth in range(1001)]


# ---- names


def test_a_child_has_the_name_it_is_given_or_its_routines(vrun):
    def main():
        with TaskGroup() as group:
            first = yield group.spawn(nap(1), name="first")
            second = yield group.spawn(nap(1))
            shown = str(group)
            yield group.join()
        return first.name, second.name, shown, str(group)

    first, second, shown, after = vrun(main())
    assert (first, second) == ("first", "nap")
    assert "TaskGroup" in shown
    assert "2 running" in shown
    assert "0 running" in after


def test_a_child_knows_the_line_that_spawned_it(vrun):
    def main():
        with TaskGroup() as group:
            task = yield group.spawn(nap(1))
            yield group.join()
        return task.spawned_at

    place = vrun(main())
    line = test_a_child_knows_the_line_that_spawned_it.__code__.co_firstlineno + 3
    assert place == f"{__file__}:{line} in main"


# ---- failures


@every_host
@every_child
def test_the_first_failure_cancels_the_siblings(vrun, host, children):
    log = []

    def main():
        try:
            yield host(
                children.nap(1, log, "early"),
                children.fail(2, KeyError("k")),
                children.nap(3, log, "late"),
            )
        except* KeyError as group:
            log.append((errors_of(group), now()))

    vrun(main())
    assert log == [("early", "done"), ("late", "cancelled"), (["KeyError('k')"], 2)]


@every_host
@every_child
def test_all_failures_come_out_in_one_exception_group(vrun, host, children):
    def main():
        yield host(
            children.spiteful(OSError("while cancelled")),
            children.fail(1, KeyError("k")),
            children.fail(1, ValueError("in the same moment")),
        )

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert sorted(errors_of(caught.value)) == [
        "KeyError('k')",
        "OSError('while cancelled')",
        "ValueError('in the same moment')",
    ]


@every_host
@every_child
def test_the_block_waits_for_the_clean_up_of_the_siblings(vrun, host, children):
    log = []

    def main():
        try:
            yield host(children.stubborn(5, log), children.fail(1, KeyError()))
        except* KeyError:
            log.append(("caught", now()))

    vrun(main())
    assert log == [("stubborn", "cleaned up", 6), ("caught", 6)]


@every_host
def test_a_failure_interrupts_the_block_wherever_it_waits(vrun, host):
    log = []

    def main():
        try:
            yield host(fail(1, KeyError()), call=sleep(100))
        except* KeyError as group:
            log.append((errors_of(group), now()))

    vrun(main())
    assert log == [(["KeyError()"], 1)]


@every_host
def test_a_failure_in_the_first_step_of_a_child_comes_out(vrun, host):
    def at_once():
        raise KeyError("at once")
        yield

    with pytest.raises(ExceptionGroup) as caught:
        vrun(host(at_once(), nap(5)))
    assert errors_of(caught.value) == ["KeyError('at once')"]


def test_a_failure_that_no_yield_of_the_block_met_comes_out_at_its_end(vrun):
    def at_once():
        raise KeyError("at once")
        yield

    def main():
        with TaskGroup() as group:
            yield group.spawn(at_once())

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError('at once')"]


def test_each_error_keeps_its_traceback_and_a_note_of_its_spawn(vrun):
    def main():
        with TaskGroup() as group:
            yield group.spawn(fail(1, KeyError("k")), name="worker")
            yield group.join()

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    (error,) = caught.value.exceptions
    names, trace = [], error.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    notes = "\n".join(error.__notes__)
    line = test_each_error_keeps_its_traceback_and_a_note_of_its_spawn.__code__.co_firstlineno + 3
    assert names[-1] == "fail"
    assert "worker" in notes
    assert f"{__file__}:{line}" in notes


def test_the_traceback_of_an_exception_group_shows_the_users_frames_only(vrun):
    async def main():
        async with TaskGroup() as group:
            await group.spawn(fail(1, KeyError("k")))

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    trace, files = caught.value.exceptions[0].__traceback__, []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    assert set(files) == {__file__}


@every_host
def test_the_failures_of_a_group_are_not_reported_as_crashes(vrun, host):
    crashes = []

    def main():
        try:
            yield host(fail(1, KeyError()), spiteful(OSError()))
        except* (KeyError, OSError):
            pass

    vrun(main(), on_crash=crashes.append)
    assert crashes == []


@every_host
def test_a_failure_that_nobody_catches_is_raised_by_run_and_not_reported(vrun, host):
    crashes = []
    with pytest.raises(ExceptionGroup):
        vrun(host(fail(1, KeyError())), on_crash=crashes.append)
    assert crashes == []


@every_host
def test_the_failure_of_a_host_that_nobody_joins_is_reported_once(vrun, host):
    crashes = []

    def main():
        yield spawn(host(fail(1, KeyError())), name="the host")
        yield sleep(5)

    vrun(main(), on_crash=lambda task: crashes.append((task.name, type(task.exception()))))
    assert crashes == [("the host", ExceptionGroup)]


@every_host
def test_a_failure_in_an_inner_group_reaches_the_outer_one_as_a_group(vrun, host):
    log = []

    def main():
        try:
            yield host(host(fail(1, KeyError("k"))), nap(5, log))
        except* KeyError as group:
            log.append(errors_of(group))

    vrun(main())
    assert len(log) == 2
    assert log[0] == ("nap", "cancelled")
    assert "KeyError('k')" in log[1][0]


@every_host
@every_child
def test_a_child_that_is_cancelled_by_itself_is_no_failure(vrun, host, children):
    log = []

    def cancelling(group):
        task = yield group.spawn(children.nap(9, log, "cancelled one"))
        yield sleep(1)
        task.cancel()

    def main():
        group = TaskGroup()
        task = yield spawn(host(children.nap(3, log, "other"), call=sleep(2), group=group))
        yield cancelling(group)
        return (yield task), now()

    assert vrun(main()) == ("end", 3)
    assert log == [("cancelled one", "cancelled"), ("other", "done")]


@every_host
def test_a_child_cancelled_before_its_first_step_is_no_failure(vrun, host):
    def main():
        with TaskGroup() as group:
            yield group.spawn(killer(group))
            yield group.join()
        return now()

    def killer(group):
        task = yield spawn(spawner(group))
        yield task

    def spawner(group):
        task = yield group.spawn(nap(5))
        task.cancel()

    assert vrun(main()) == 0


def test_a_child_that_fails_when_it_is_cancelled_by_itself_is_a_failure(vrun):
    def main():
        with TaskGroup() as group:
            task = yield group.spawn(spiteful(OSError("o")))
            task.cancel()
            yield group.join()

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["OSError('o')"]


def test_a_child_that_ends_by_the_cancellation_of_another_task_is_a_failure(vrun):
    """It was not cancelled: the task it joined was, and it does without its result."""

    def main():
        other = yield spawn(nap(9))
        with TaskGroup() as group:
            yield group.spawn(joining(other))
            yield sleep(1)
            other.cancel()
            yield group.join()

    def joining(task):
        yield task

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert [type(error) for error in caught.value.exceptions] == [RuntimeError]
    assert "cancellation of task #2 nap" in str(caught.value.exceptions[0])


def test_a_failing_child_that_the_block_joined_comes_out_once(vrun):
    async def main():
        async with TaskGroup() as group:
            task = await group.spawn(fail(1, KeyError("k")))
            await task

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError('k')"]


def test_a_body_that_swallows_its_cancellation_gets_the_failures_all_the_same(vrun):
    async def main():
        async with TaskGroup() as group:
            await group.spawn(fail(1, KeyError("k")))
            try:
                await sleep(9)
            except Cancelled:
                pass

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError('k')"]


def test_a_failure_at_the_join_that_the_block_caught_is_not_raised_again(vrun):
    log = []

    def main():
        with TaskGroup() as group:
            yield group.spawn(fail(1, KeyError("k")))
            try:
                yield group.join()
            except* KeyError as caught:
                log.append(errors_of(caught))
        log.append(now())

    vrun(main())
    assert log == [["KeyError('k')"], 1]


def test_a_shield_in_the_block_holds_the_failure_back(vrun):
    log = []

    async def main():
        try:
            async with TaskGroup() as group:
                await group.spawn(fail(1, KeyError("k")))
                with shield(10):
                    await sleep(5)
                log.append(("after the shield", now()))
                await sleep(9)
        except* KeyError:
            log.append(("caught", now()))

    vrun(main())
    assert log == [("after the shield", 5), ("caught", 5)]


@every_host
def test_sys_exit_in_a_child_comes_out_bare_when_the_others_have_ended(vrun, host):
    log = []

    def leave():
        yield sleep(1)
        sys.exit(7)

    def main():
        try:
            yield host(leave(), stubborn(2, log))
        except BaseException as error:
            log.append(type(error).__name__)
            raise

    with pytest.raises(SystemExit) as caught:
        vrun(main())
    assert caught.value.code == 7
    assert ("stubborn", "cleaned up", 3) in log
    assert log[-1] in ("SystemExit", "Cancelled")


@every_host
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_sys_exit_and_ctrl_c_come_before_other_failures(vrun, host, error):
    with pytest.raises(error):
        vrun(host(spiteful(KeyError()), fail(1, error())))


def test_other_base_exceptions_make_a_base_exception_group(vrun):
    class Strange(BaseException):
        pass

    with pytest.raises(BaseExceptionGroup) as caught:
        vrun(async_host(fail(1, Strange()), spiteful(KeyError())))
    assert not isinstance(caught.value, ExceptionGroup)
    assert sorted(errors_of(caught.value)) == ["KeyError()", "Strange()"]


# ---- the block itself fails


@every_child
def test_an_error_of_the_async_block_cancels_the_tasks_and_comes_out_in_a_group(vrun, children):
    log = []

    async def main():
        try:
            async with TaskGroup() as group:
                await group.spawn(children.nap(9, log))
                await group.spawn(children.stubborn(2, log))
                await sleep(1)
                raise KeyError("body")
        except* KeyError as caught:
            log.append((errors_of(caught), now()))

    vrun(main())
    assert log == [
        ("nap", "cancelled"),
        ("stubborn", "cleaned up", 3),
        (["KeyError('body')"], 3),
    ]


def test_the_errors_of_the_block_and_of_its_tasks_come_out_together(vrun):
    async def main():
        async with TaskGroup() as group:
            await group.spawn(spiteful(OSError("child")))
            await sleep(1)
            raise KeyError("body")

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert sorted(errors_of(caught.value)) == ["KeyError('body')", "OSError('child')"]


@pytest.mark.parametrize("tasks", [0, 1])
def test_an_error_of_a_plain_block_comes_out_in_a_group(vrun, tasks):
    def main():
        with TaskGroup() as group:
            for _ in range(tasks):
                yield group.spawn(nap(9))
            raise KeyError("body")

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError('body')"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("form", ["with", "async with"])
def test_sys_exit_and_ctrl_c_in_the_block_come_out_bare(vrun, error, form):
    log = []

    def plain():
        with TaskGroup() as group:
            yield group.spawn(nap(9, log))
            raise error

    async def awaited():
        async with TaskGroup() as group:
            await group.spawn(nap(9, log))
            raise error

    with pytest.raises(error):
        vrun(plain() if form == "with" else awaited())
    assert log == [("nap", "cancelled")]


def test_a_plain_block_left_by_an_error_cancels_its_tasks_at_once(vrun):
    log = []

    def main():
        try:
            with TaskGroup() as group:
                yield group.spawn(nap(9, log))
                yield sleep(1)
                raise KeyError("body")
        except* KeyError:
            log.append("caught")
        yield sleep(1)
        log.append(("main goes on", now()))

    vrun(main())
    assert log == ["caught", ("nap", "cancelled"), ("main goes on", 2)]


@every_child
def test_a_task_that_left_a_plain_block_by_an_error_is_not_done_before_the_children(vrun, children):
    log = []

    def block():
        with TaskGroup() as group:
            yield group.spawn(children.stubborn(5, log))
            yield sleep(1)
            raise KeyError("body")

    def main():
        task = yield spawn(block())
        try:
            yield task
        except* KeyError as caught:
            log.append((errors_of(caught), now()))

    vrun(main())
    assert log == [("stubborn", "cleaned up", 6), (["KeyError('body')"], 6)]


@every_child
def test_a_host_that_caught_the_error_and_returned_is_not_done_before_the_children(vrun, children):
    log = []

    def block():
        try:
            with TaskGroup() as group:
                yield group.spawn(children.stubborn(5, log))
                yield sleep(1)
                raise KeyError("body")
        except* KeyError:
            log.append(("caught", now()))
        return "result"

    def main():
        task = yield spawn(block())
        yield sleep(2)
        log.append((task.done, now()))
        log.append(((yield task), now()))

    vrun(main())
    assert log == [
        ("caught", 1),
        (False, 2),
        ("stubborn", "cleaned up", 6),
        ("result", 6),
    ]


def test_run_does_not_return_before_the_children_of_a_block_that_main_left(vrun):
    log = []

    def main():
        try:
            with TaskGroup() as group:
                yield group.spawn(stubborn(5, log))
                raise KeyError
        except* KeyError:
            pass
        return "result"

    assert vrun(main()) == "result"
    assert log == [("stubborn", "cleaned up", 5)]


def test_late_failures_of_children_come_out_of_the_hosts_task_as_a_group(vrun):
    crashes = []

    def late(seconds):
        try:
            yield sleep(1000)
        finally:
            with shield(100):
                yield sleep(seconds)
            raise OSError(f"late {seconds}")

    def block():
        try:
            with TaskGroup() as group:
                yield group.spawn(late(2))
                yield group.spawn(late(3))
                raise KeyError("body")
        except* KeyError:
            pass
        return "never seen"

    def main():
        task = yield spawn(block())
        with pytest.raises(ExceptionGroup) as caught:
            yield task
        return sorted(errors_of(caught.value)), now()

    assert vrun(main(), on_crash=crashes.append) == (["OSError('late 2')", "OSError('late 3')"], 3)
    assert crashes == []


def test_late_failures_join_the_error_that_the_host_ended_with(vrun):
    def block():
        with TaskGroup() as group:
            yield group.spawn(spiteful(OSError("late")))
            raise KeyError("body")

    with pytest.raises(BaseExceptionGroup) as caught:
        vrun(block())
    shown = repr(caught.value)
    assert "KeyError('body')" in shown
    assert "OSError('late')" in shown


def test_a_block_in_a_routine_that_was_yielded_holds_the_task_not_the_routine(vrun):
    log = []

    def routine():
        with TaskGroup() as group:
            yield group.spawn(stubborn(5, log))
            raise KeyError("body")

    def host():
        try:
            yield routine()
        except* KeyError:
            log.append(("caught", now()))
        yield sleep(1)
        log.append(("host's last line", now()))

    def main():
        task = yield spawn(host())
        yield task
        log.append(("done", now()))

    vrun(main())
    assert log == [
        ("caught", 0),
        ("host's last line", 1),
        ("stubborn", "cleaned up", 5),
        ("done", 5),
    ]


def test_a_plain_block_in_a_coroutine_holds_its_task_too(vrun):
    log = []

    async def host():
        try:
            with TaskGroup() as group:
                await group.spawn(stubborn(5, log))
                raise KeyError("body")
        except* KeyError:
            pass
        return "result"

    async def main():
        task = await spawn(host())
        return await task, now()

    assert vrun(main()) == ("result", 5)


def test_several_plain_blocks_left_by_errors_all_hold_the_task(vrun):
    log = []

    def block(seconds):
        try:
            with TaskGroup() as group:
                yield group.spawn(stubborn(seconds, log, seconds))
                raise KeyError
        except* KeyError:
            pass

    def host():
        yield block(5)
        yield block(3)
        yield block(7)
        return "result"

    def main():
        task = yield spawn(host())
        return (yield task), now()

    assert vrun(main()) == ("result", 7)
    assert log == [(n, "cleaned up", n) for n in (3, 5, 7)]


def test_a_host_that_is_cancelled_while_its_children_end_is_not_done_before_them(vrun):
    log = []

    def host():
        try:
            with TaskGroup() as group:
                yield group.spawn(stubborn(5, log))
                raise KeyError
        except* KeyError:
            pass
        return "result"

    def main():
        task = yield spawn(host())
        yield sleep(1)
        task.cancel()
        try:
            log.append((yield task))
        except Cancelled:
            log.append("cancelled")
        log.append(now())

    vrun(main())
    assert log[0] == ("stubborn", "cleaned up", 5)
    assert log[1] in ("result", "cancelled")
    assert log[2] == 5


# ---- left without a join


def test_a_plain_block_left_while_tasks_run_raises_and_cancels_them(vrun):
    log = []

    def main():
        with pytest.raises(RuntimeError, match="join"):
            with TaskGroup() as group:
                yield group.spawn(nap(9, log))
        log.append("behind the block")
        yield sleep(1)
        log.append(now())

    vrun(main())
    assert log == ["behind the block", ("nap", "cancelled"), 1]


def test_a_plain_block_left_while_tasks_run_after_a_join_raises_too(vrun):
    log = []

    def main():
        with pytest.raises(RuntimeError):
            with TaskGroup() as group:
                yield group.spawn(nap(1, log))
                yield group.join()
                yield group.spawn(nap(1, log))

    vrun(main())
    assert log == [("nap", "done"), ("nap", "cancelled")]


def test_a_host_that_left_without_a_join_is_not_done_before_its_tasks(vrun):
    log = []

    def host():
        with TaskGroup() as group:
            yield group.spawn(stubborn(5, log))

    def main():
        task = yield spawn(host())
        with pytest.raises(RuntimeError):
            yield task
        return now()

    assert vrun(main()) == 5


# ---- daemons


@every_child
def test_daemons_are_cancelled_and_waited_for_when_the_others_are_done(vrun, children):
    log = []

    async def main():
        async with TaskGroup() as group:
            await group.spawn(children.stubborn(4, log), daemon=True)
            await group.spawn(children.nap(1, log, "worker"))
        log.append(now())

    vrun(main())
    assert log == [("worker", "done"), ("stubborn", "cleaned up", 5), 5]


def test_join_cancels_the_daemons_of_a_plain_block(vrun):
    log = []

    def main():
        with TaskGroup() as group:
            daemon = yield group.spawn(nap(1000, log, "daemon"), daemon=True)
            yield group.spawn(nap(1, log, "worker"))
            yield group.join()
            log.append((daemon.daemon, daemon.done))

    vrun(main())
    assert log == [("worker", "done"), ("daemon", "cancelled"), (True, True)]


def test_daemons_live_as_long_as_the_block_does(vrun):
    log = []

    async def main():
        async with TaskGroup() as group:
            await group.spawn(nap(1000, log, "daemon"), daemon=True)
            await group.spawn(nap(1, log, "worker"))
            await sleep(5)
            log.append(("end of the body", now()))

    vrun(main())
    assert log == [("worker", "done"), ("end of the body", 5), ("daemon", "cancelled")]


def test_a_block_with_daemons_only_ends_at_once(vrun):
    log = []

    async def main():
        async with TaskGroup() as group:
            await group.spawn(nap(1000, log, "daemon"), daemon=True)
        return now()

    assert vrun(main()) == 0
    assert log == [("daemon", "cancelled")]


def test_a_daemon_that_ends_by_itself_is_as_any_other(vrun):
    async def main():
        async with TaskGroup() as group:
            await group.spawn(nap(1), daemon=True)
            await group.spawn(nap(3))
        return now()

    assert vrun(main()) == 3


def test_a_daemon_that_fails_cancels_the_others(vrun):
    log = []

    async def main():
        async with TaskGroup() as group:
            await group.spawn(fail(1, KeyError("daemon")), daemon=True)
            await group.spawn(nap(9, log))

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError('daemon')"]
    assert log == [("nap", "cancelled")]


def test_a_daemon_that_fails_when_it_is_cancelled_is_a_failure(vrun):
    async def main():
        async with TaskGroup() as group:
            await group.spawn(spiteful(KeyError("daemon")), daemon=True)
            await group.spawn(nap(1))

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError('daemon')"]


def test_run_waits_for_a_group_in_a_task_that_is_no_daemon(vrun):
    log = []

    def main():
        yield spawn(host(nap(5, log)))

    vrun(main())
    assert log == [("nap", "done")]


# ---- cancel


@every_host
@every_child
def test_cancelling_the_group_ends_its_tasks_and_the_block_quietly(vrun, host, children):
    log = []

    def main():
        group = TaskGroup()
        task = yield spawn(
            host(children.nap(9, log), children.stubborn(2, log), call=sleep(100), group=group)
        )
        yield sleep(1)
        group.cancel("enough")
        log.append(((yield task), now()))

    vrun(main())
    assert log == [("nap", "cancelled"), ("stubborn", "cleaned up", 3), ("end", 3)]


def test_cancelling_the_group_from_its_own_block_ends_it_at_the_next_yield(vrun):
    log = []

    async def main():
        async with TaskGroup() as group:
            await group.spawn(nap(9, log))
            group.cancel()
            log.append("still here")
            await sleep(1)
            log.append("never here")
        log.append(("behind the block", now()))

    vrun(main())
    assert log == ["still here", ("nap", "cancelled"), ("behind the block", 0)]


def test_cancelling_the_group_from_a_child_ends_the_child_too(vrun):
    log = []

    def child(group):
        yield sleep(1)
        group.cancel()
        try:
            yield sleep(1)
        finally:
            log.append(("child", now()))

    async def main():
        async with TaskGroup() as group:
            await group.spawn(child(group))
            await group.spawn(nap(9, log))
        log.append(now())

    vrun(main())
    assert sorted(log, key=str) == sorted([("child", 1), ("nap", "cancelled"), 1], key=str)


def test_the_reason_of_a_cancel_reaches_the_children(vrun):
    log = []

    def child():
        try:
            yield sleep(9)
        except Cancelled as error:
            log.append(error.reason)
            raise

    async def main():
        async with TaskGroup() as group:
            await group.spawn(child())
            group.cancel("enough")

    vrun(main())
    assert log == ["enough"]


def test_a_failure_during_the_cancel_of_a_group_comes_out(vrun):
    async def main():
        async with TaskGroup() as group:
            await group.spawn(spiteful(OSError("o")))
            group.cancel()

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["OSError('o')"]


def test_cancelling_a_group_twice_or_afterwards_does_no_harm(vrun):
    def main():
        with TaskGroup() as group:
            yield group.spawn(nap(9))
            group.cancel()
            group.cancel()
            yield group.join()
        group.cancel()
        yield sleep(1)
        return now()

    assert vrun(main()) == 1


@every_host
@every_child
def test_cancelling_the_host_cancels_the_tasks_and_waits_for_them(vrun, host, children):
    log = []

    def main():
        task = yield spawn(host(children.nap(9, log), children.stubborn(2, log)))
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield task
        log.append(now())

    vrun(main())
    assert log == [("nap", "cancelled"), ("stubborn", "cleaned up", 3), 3]


@every_host
def test_a_failure_while_the_host_is_cancelled_is_not_lost(vrun, host):
    crashes, log = [], []

    def main():
        task = yield spawn(host(spiteful(OSError("o"))))
        yield sleep(1)
        task.cancel()
        try:
            yield task
        except BaseException as error:
            log.append(repr(error))

    vrun(main(), on_crash=lambda task: crashes.append(repr(task.exception())))
    assert "OSError('o')" in "".join(log + crashes)


@every_host
def test_cancelling_the_host_again_does_not_hurry_the_children(vrun, host):
    log = []

    def main():
        task = yield spawn(host(stubborn(5, log)))
        yield sleep(1)
        for _ in range(3):
            task.cancel()
            yield sleep(1)
        with pytest.raises(Cancelled):
            yield task
        log.append(now())

    vrun(main())
    assert log == [("stubborn", "cleaned up", 6), 6]


def test_a_host_cancelled_before_its_first_step_leaves_nothing(vrun):
    log = []

    def main():
        task = yield spawn(outer())
        yield task

    def outer():
        task = yield spawn(host(nap(1, log)))
        task.cancel()
        with pytest.raises(Cancelled):
            yield task

    vrun(main())
    assert log in ([], [("nap", "cancelled")])


def test_a_child_that_cancels_its_host_ends_with_it(vrun):
    log = []

    def child(parent):
        yield sleep(1)
        parent.cancel()
        yield sleep(9)

    def host():
        with TaskGroup() as group:
            yield group.spawn(child(current_task()))
            yield group.join()

    def main():
        task = yield spawn(host())
        with pytest.raises(Cancelled):
            yield task
        log.append(now())

    vrun(main())
    assert log == [1]


def test_spawning_into_a_group_that_is_being_cancelled_starts_nothing_that_stays(vrun):
    log = []

    def outsider(group):
        yield sleep(2)
        try:
            yield group.spawn(nap(100, log, "late"))
        except RuntimeError:
            log.append(("late", "refused"))

    def main():
        with TaskGroup() as group:
            yield group.spawn(stubborn(5, log))
            yield spawn(outsider(group))
            yield sleep(1)
            group.cancel()
            yield group.join()
        log.append(now())

    vrun(main())
    assert log[0] in [("late", "refused"), ("late", "cancelled"), ("stubborn", "cleaned up", 6)]
    assert log[-1] < 100
    assert ("late", "done") not in log


# ---- time limits


@pytest.mark.parametrize("limit", [timeout, move_on_after])
@every_child
def test_nobody_outlives_a_time_limit_around_an_async_block(vrun, limit, children):
    log = []

    async def main():
        try:
            with limit(1) as scope:
                async with TaskGroup() as group:
                    await group.spawn(children.nap(9, log))
                    await group.spawn(children.stubborn(2, log))
        except TimeoutError:
            log.append("timeout")
        log.append((scope.expired, now()))

    vrun(main())
    expected = [("nap", "cancelled"), ("stubborn", "cleaned up", 3)]
    if limit is timeout:
        expected.append("timeout")
    assert log == [*expected, (True, 3)]


@pytest.mark.parametrize("limit", [timeout, move_on_after])
def test_a_time_limit_around_a_plain_block_cancels_its_tasks(vrun, limit):
    log = []

    def host():
        try:
            with limit(1) as scope:
                with TaskGroup() as group:
                    yield group.spawn(nap(9, log))
                    yield group.spawn(stubborn(2, log))
                    yield group.join()
        except TimeoutError:
            pass
        log.append((scope.expired, now()))

    def main():
        yield (yield spawn(host()))
        log.append(now())

    vrun(main())
    assert sorted(log, key=str) == sorted(
        [(True, 1), ("nap", "cancelled"), ("stubborn", "cleaned up", 3), 3], key=str
    )
    assert log[-2:] == [("stubborn", "cleaned up", 3), 3]


def test_a_timeout_inside_an_async_block_fails_it(vrun):
    log = []

    async def main():
        try:
            async with TaskGroup() as group:
                await group.spawn(nap(9, log))
                with timeout(1):
                    await sleep(5)
        except* TimeoutError:
            log.append(now())

    vrun(main())
    assert log == [("nap", "cancelled"), 1]


def test_a_timeout_in_the_block_around_the_join_leaves_the_tasks_running(vrun):
    log = []

    def main():
        with TaskGroup() as group:
            yield group.spawn(nap(5, log))
            with move_on_after(1) as scope:
                yield group.join()
            log.append((scope.expired, now()))
            yield group.join()
        log.append(now())

    vrun(main())
    assert log == [(True, 1), ("nap", "done"), 5]


def test_a_timeout_in_a_child_is_its_failure(vrun):
    def child():
        with timeout(1):
            yield sleep(9)

    with pytest.raises(ExceptionGroup) as caught:
        vrun(host(child()))
    assert isinstance(caught.value.exceptions[0], TimeoutError)


@pytest.mark.parametrize("limit", [timeout, move_on_after])
@pytest.mark.parametrize("moment", ["of the time limit", "of the clean-up"])
def test_no_cancellation_leaves_its_time_limit_inside_an_exception_group(vrun, limit, moment):
    """A scope keeps its own `Cancelled` in, also when a child fails at the same time."""
    log = []

    def main():
        child = fail(1, KeyError("k")) if moment == "of the time limit" else spiteful(KeyError("k"))
        try:
            with limit(1):
                yield async_host(child, nap(9, log))
        except* KeyError as caught:
            log.append(errors_of(caught))
        except* TimeoutError:
            pass
        log.append(now())

    vrun(main())
    assert log == [("nap", "cancelled"), ["KeyError('k')"], 1]


def test_a_child_does_not_inherit_the_time_limit_of_the_task_that_spawned_it(vrun):
    log = []

    def main():
        with TaskGroup() as group:
            with move_on_after(1):
                yield group.spawn(nap(5, log))
                yield sleep(9)
            yield group.join()

    vrun(main())
    assert log == [("nap", "done")]


def leaves(error):
    """The errors in an exception group and in those inside it, as text."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [repr(error)]


def test_no_cancellation_of_an_outer_group_comes_out_beside_the_failures(vrun):
    async def main():
        async with TaskGroup() as outer:
            await outer.spawn(fail(1, KeyError("outer")))
            async with TaskGroup() as inner:
                await inner.spawn(spiteful(OSError("inner")))

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert sorted(leaves(caught.value)) == ["KeyError('outer')", "OSError('inner')"]


@every_host
def test_a_host_that_is_cancelled_by_its_own_group_adds_only_real_failures(vrun, host):
    def main():
        yield host(host(spiteful(OSError("inner"))), fail(1, KeyError("outer")))

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert sorted(leaves(caught.value)) == ["KeyError('outer')", "OSError('inner')"]


# ---- join


def test_the_join_of_a_group_can_be_a_branch_of_a_select(vrun):
    log = []

    def main():
        with TaskGroup() as group:
            yield group.spawn(nap(3, log))
            log.append(((yield select(group.join(), sleep(1))), now()))
            log.append(((yield select(sleep(9), group.join())), now()))

    vrun(main())
    assert log == [((1, None), 1), ("nap", "done"), ((1, None), 3)]


def test_a_join_that_lost_a_select_leaves_the_daemons_running(vrun):
    log = []

    def main():
        with TaskGroup() as group:
            daemon = yield group.spawn(nap(100, log, "daemon"), daemon=True)
            yield group.spawn(nap(5, log, "worker"))
            yield select(group.join(), sleep(1))
            log.append(daemon.done)
            yield group.join()

    vrun(main())
    assert log == [False, ("worker", "done"), ("daemon", "cancelled")]


def test_a_join_in_a_select_that_another_branch_won_at_once_has_no_effect(vrun):
    log = []

    def main():
        queue = Queue()
        queue.put_nowait("item")
        with TaskGroup() as group:
            yield group.spawn(nap(5, log, "daemon"), daemon=True)
            log.append((yield select(group.join(), queue.get())))
            yield sleep(1)
            log.append("the daemon should still run")
            yield group.join()

    vrun(main())
    assert log == [(1, "item"), "the daemon should still run", ("daemon", "cancelled")]


def test_a_failure_that_another_task_joined_ends_the_block_all_the_same(vrun):
    log = []

    def outsider(group):
        try:
            yield group.join()
        except* KeyError:
            log.append(("outsider", now()))

    async def main():
        try:
            async with TaskGroup() as group:
                await group.spawn(fail(1, KeyError("k")))
                await spawn(outsider(group))
                await sleep(100)
        except* KeyError:
            log.append(("host", now()))

    vrun(main())
    assert sorted(log) == [("host", 1), ("outsider", 1)]


def test_all_who_join_a_group_get_its_failure(vrun):
    log = []

    def outsider(group):
        try:
            yield group.join()
        except* KeyError:
            log.append(("outsider", now()))

    def main():
        try:
            with TaskGroup() as group:
                yield group.spawn(fail(1, KeyError("k")))
                yield spawn(outsider(group))
                yield group.join()
        except* KeyError:
            log.append(("host", now()))

    vrun(main())
    assert sorted(log) == [("host", 1), ("outsider", 1)]


def test_a_failure_comes_out_of_a_join_in_a_select(vrun):
    log = []

    def main():
        try:
            with TaskGroup() as group:
                yield group.spawn(fail(1, KeyError("k")))
                yield select(group.join(), sleep(9))
        except* KeyError as caught:
            log.append((errors_of(caught), now()))

    vrun(main())
    assert log == [(["KeyError('k')"], 1)]


def test_a_child_cannot_join_its_own_group(vrun):
    log = []

    def child(group):
        try:
            yield group.join()
        except RuntimeError as error:
            log.append(str(error))

    def main():
        with TaskGroup() as group:
            yield group.spawn(child(group))
            yield group.join()

    vrun(main())
    assert len(log) == 1


def test_a_child_that_joins_its_group_through_another_task_is_refused_or_a_deadlock(vrun):
    def joiner(group):
        yield group.join()

    def child(group):
        yield (yield spawn(joiner(group)))

    def main():
        with TaskGroup() as group:
            yield group.spawn(child(group))
            yield group.join()

    with pytest.raises((RuntimeError, DeadlockError, ExceptionGroup)):
        vrun(main(), on_crash=lambda task: None)


def test_a_child_may_join_a_group_that_its_task_has_inside(vrun):
    async def child():
        async with TaskGroup() as group:
            await group.spawn(nap(1))
            await group.join()
        return now()

    async def main():
        async with TaskGroup() as group:
            task = await group.spawn(child())
        return task.result()

    assert vrun(main()) == 1


def test_a_deadlock_in_a_group_names_the_wait_for_it(vrun):
    def child():
        yield Queue(name="orders").get()

    with pytest.raises(DeadlockError) as caught:
        vrun(host(child()))
    assert "join TaskGroup" in str(caught.value)
    assert "orders" in str(caught.value)


def test_a_deadlock_at_the_end_of_an_async_block_names_the_wait_for_it(vrun):
    async def child():
        await Queue(name="orders").get()

    with pytest.raises(DeadlockError) as caught:
        vrun(async_host(child()))
    assert "TaskGroup" in str(caught.value)
    assert "orders" in str(caught.value)


# ---- what is refused


def test_a_group_that_was_not_entered_takes_no_task(vrun):
    def main():
        with pytest.raises(RuntimeError):
            yield TaskGroup().spawn(nap(1))

    vrun(main())


def test_a_group_that_was_left_takes_no_task(vrun):
    log = []

    def main():
        with TaskGroup() as group:
            yield group.join()
        with pytest.raises(RuntimeError):
            yield group.spawn(nap(1, log))
        async_group = yield entered_and_left()
        with pytest.raises(RuntimeError):
            yield async_group.spawn(nap(1, log))

    async def entered_and_left():
        async with TaskGroup() as group:
            pass
        return group

    vrun(main())
    assert log == []


def test_a_group_whose_tasks_are_still_ending_takes_no_task_once_it_was_left(vrun):
    log = []

    def main():
        try:
            with TaskGroup() as group:
                yield group.spawn(stubborn(5, log))
                raise KeyError
        except* KeyError:
            pass
        with pytest.raises(RuntimeError):
            yield group.spawn(nap(1, log))

    vrun(main())
    assert log == [("stubborn", "cleaned up", 5)]


@every_host
def test_a_group_is_entered_once_only(vrun, host):
    log = []

    def main():
        group = TaskGroup()
        yield host(nap(1, log), group=group)
        with pytest.raises(RuntimeError):
            yield host(nap(1, log), group=group)

    vrun(main())
    assert log == [("nap", "done")]


def test_a_group_is_not_entered_inside_itself(vrun):
    def main():
        with TaskGroup() as group:
            with pytest.raises(RuntimeError):
                with group:
                    pass
            yield group.spawn(nap(1))
            yield group.join()
        return now()

    assert vrun(main()) == 1


def test_a_group_cannot_be_entered_outside_a_task():
    with pytest.raises(RuntimeError):
        with TaskGroup():
            pass


@pytest.mark.parametrize("thing", [None, 5, nap, async_nap, sleep, [1]])
def test_what_is_no_routine_is_refused_and_the_group_goes_on(vrun, thing):
    def main():
        with TaskGroup() as group:
            with pytest.raises(TypeError):
                yield group.spawn(thing)
            yield group.spawn(nap(1))
            yield group.join()
        return now()

    assert vrun(main()) == 1


def test_a_routine_that_runs_already_is_refused_and_the_group_goes_on(vrun):
    def main():
        routine = nap(2)
        with TaskGroup() as group:
            yield group.spawn(routine)
            with pytest.raises(RuntimeError):
                yield group.spawn(routine)
            yield group.join()
        return now()

    assert vrun(main()) == 2


# ---- many, and memory


@every_host
def test_a_group_of_ten_thousand_takes_linear_time(vrun, unobserved, host):
    def cost(count):
        with ProcessorTime() as took:
            vrun(host(*(nap(n % 7) for n in range(count))))
        return took.seconds

    assert_ten_times_as_many_cost_about_ten_times_as_much(cost, most=40)


def test_a_group_of_many_daemons_ends_in_linear_time(vrun, unobserved):
    async def main(count):
        async with TaskGroup() as group:
            for _ in range(count):
                await group.spawn(nap(9), daemon=True)

    def cost(count):
        with ProcessorTime() as took:
            vrun(main(count))
        return took.seconds

    assert_ten_times_as_many_cost_about_ten_times_as_much(cost, few=400, most=40)


def test_ten_thousand_children_are_cancelled_by_one_failure(vrun):
    async def main():
        async with TaskGroup() as group:
            for _ in range(10_000):
                await group.spawn(nap(9))
            await group.spawn(fail(1, KeyError("k")))

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError('k')"]


class Thing:
    """Something that can be watched going away."""


def holding(seconds, watched):
    thing = Thing()
    watched.append(weakref.ref(thing))
    yield sleep(seconds)
    return thing


def test_a_group_keeps_nothing_of_a_child_that_has_ended(vrun):
    watched, alive = [], []

    def main():
        with TaskGroup() as group:
            for _ in range(5):
                yield group.spawn(holding(1, watched))
            yield group.spawn(nap(10))
            yield sleep(5)
            gc.collect()
            alive.append([ref() for ref in watched])
            yield group.join()

    vrun(main())
    assert alive == [[None] * 5]


@every_host
def test_a_group_that_has_ended_keeps_nothing_of_its_children(vrun, host):
    watched, alive = [], []

    def main():
        group = TaskGroup()
        yield host(*(holding(1, watched) for _ in range(5)), group=group)
        gc.collect()
        alive.append([ref() for ref in watched])
        yield group.join()

    vrun(main())
    assert alive == [[None] * 5]


def test_a_group_that_failed_can_be_collected(vrun):
    refs = []

    def main():
        group = TaskGroup()
        refs.append(weakref.ref(group)) if hasattr(TaskGroup, "__weakref__") else None
        watched = []
        try:
            yield async_host(fail(1, KeyError()), holding(9, watched), group=group)
        except* KeyError:
            pass
        del group
        yield
        gc.collect()
        return [ref() for ref in refs + watched]

    assert all(left is None for left in vrun(main()))


# ---- groups in a kernel that is driven by hand


def test_a_kernel_that_closes_ends_the_tasks_of_its_groups():
    log = []
    kernel = Kernel(clock=VirtualClock())
    kernel.spawn(host(nap(9, log), stubborn(1, log)))
    for _ in range(5):
        kernel.tick()
    kernel.close()
    assert log == [("nap", "cancelled"), ("stubborn", "cleaned up", 1)]


# ---- gather


@every_child
def test_gather_returns_the_results_in_the_order_of_its_arguments(vrun, children):
    def main():
        got = yield gather(*(children.nap(n, result=n) for n in (3, 1, 2)))
        return got, now()

    assert vrun(main()) == ([3, 1, 2], 3)


@pytest.mark.parametrize("combine", [gather, race])
def test_gather_and_race_can_be_yielded_yielded_from_awaited_and_spawned(vrun, combine):
    def made():
        return combine(nap(1, result="a"), async_nap(2, result="b"))

    def main():
        first = yield made()
        second = yield from made()
        third = yield awaiting()
        fourth = yield (yield spawn(made()))
        return [first, second, third, fourth]

    async def awaiting():
        return await made()

    expected = ["a", "b"] if combine is gather else "a"
    assert vrun(main()) == [expected] * 4
    assert vrun(made()) == expected


def test_gather_of_nothing_returns_an_empty_list(vrun):
    async def main():
        return await gather()

    assert vrun(main()) == []
    assert vrun(gather()) == []


@every_child
def test_gather_cancels_the_others_when_one_fails(vrun, children):
    log = []

    def main():
        try:
            yield gather(
                children.nap(9, log), children.stubborn(2, log), children.fail(1, KeyError("k"))
            )
        except* KeyError as caught:
            log.append((errors_of(caught), now()))

    vrun(main())
    assert log == [("nap", "cancelled"), ("stubborn", "cleaned up", 3), (["KeyError('k')"], 3)]


def test_gather_raises_all_failures(vrun):
    with pytest.raises(ExceptionGroup) as caught:
        vrun(gather(fail(1, KeyError("k")), spiteful(OSError("o")), nap(9)))
    assert sorted(errors_of(caught.value)) == ["KeyError('k')", "OSError('o')"]


@pytest.mark.parametrize("combine", [gather, race])
@every_child
def test_cancelling_gather_or_race_cancels_and_awaits_its_tasks(vrun, combine, children):
    log = []

    def main():
        task = yield spawn(combine(children.nap(9, log), children.stubborn(2, log)))
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield task
        log.append(now())

    vrun(main())
    assert log == [("nap", "cancelled"), ("stubborn", "cleaned up", 3), 3]


@pytest.mark.parametrize("combine", [gather, race])
def test_a_time_limit_around_gather_or_race_ends_its_tasks(vrun, combine):
    log = []

    def main():
        with pytest.raises(TimeoutError):
            with timeout(1):
                yield combine(nap(9, log), stubborn(2, log))
        log.append(now())

    vrun(main())
    assert log == [("nap", "cancelled"), ("stubborn", "cleaned up", 3), 3]


@pytest.mark.parametrize("combine", [gather, race])
@pytest.mark.parametrize("thing", [None, 5, nap, async_nap, [1]])
def test_gather_and_race_refuse_what_is_no_routine_before_anything_starts(vrun, combine, thing):
    log = []

    def main():
        with pytest.raises(TypeError):
            yield combine(nap(0, log), thing, nap(0, log))
        yield sleep(1)

    vrun(main())
    assert log == []


@pytest.mark.parametrize("combine", [gather, race])
def test_nothing_starts_before_gather_or_race_is_yielded(vrun, combine):
    log = []

    def main():
        routine = combine(nap(0, log), nap(0, log))
        yield sleep(1)
        log.append("yielding")
        yield routine

    vrun(main())
    assert log[0] == "yielding"


def test_gather_names_the_place_where_it_was_called(vrun):
    def main():
        yield gather(fail(1, KeyError("k")))

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    notes = "\n".join(caught.value.exceptions[0].__notes__)
    line = test_gather_names_the_place_where_it_was_called.__code__.co_firstlineno + 2
    assert f"{__file__}:{line}" in notes


def test_gather_reports_no_crashes(vrun):
    crashes = []

    def main():
        try:
            yield gather(fail(1, KeyError("k")), spiteful(OSError("o")))
        except* (KeyError, OSError):
            pass

    vrun(main(), on_crash=crashes.append)
    assert crashes == []


def test_gathers_nest(vrun):
    def main():
        got = yield gather(gather(nap(1, result=1), nap(2, result=2)), gather(nap(3, result=3)))
        return got, now()

    assert vrun(main()) == ([[1, 2], [3]], 3)


def test_gather_runs_ten_thousand(vrun):
    assert vrun(gather(*(nap(n % 5, result=n) for n in range(10_000)))) == list(range(10_000))


def test_a_cancelled_child_of_gather_is_not_lost_in_silence(vrun):
    """Gather has no result to give for it; it must not make one up."""
    tasks = []

    def child():
        tasks.append(current_task())
        yield sleep(9)

    def main():
        task = yield spawn(gather(nap(1, result=1), child()))
        yield sleep(2)
        tasks[0].cancel()
        try:
            return (yield task)
        except (Cancelled, Exception) as error:
            return type(error)

    assert not isinstance(vrun(main()), list)


@pytest.mark.parametrize("combine", [gather, race])
def test_coroutines_that_a_failure_keeps_from_starting_give_no_warning(vrun, recwarn, combine):
    def at_once():
        raise KeyError("at once")
        yield

    with pytest.raises((KeyError, ExceptionGroup)) as caught:
        vrun(combine(at_once(), async_nap(1), async_nap(2)))
    assert leaves(caught.value) == ["KeyError('at once')"]
    del caught
    gc.collect()
    assert not recwarn.list


# ---- race


@every_child
def test_race_returns_the_result_of_the_first_to_end(vrun, children):
    log = []

    def main():
        got = yield race(*(children.nap(n, log, n, result=n) for n in (3, 1, 2)))
        log.append((got, now()))

    vrun(main())
    assert log == [(1, "done"), (3, "cancelled"), (2, "cancelled"), (1, 1)]


@every_child
def test_race_waits_for_the_clean_up_of_the_losers(vrun, children):
    log = []

    def main():
        got = yield race(children.stubborn(4, log), children.nap(1, log, "winner", result="won"))
        log.append((got, now()))

    vrun(main())
    assert log == [("winner", "done"), ("stubborn", "cleaned up", 5), ("won", 5)]


def test_the_first_of_two_that_end_in_one_moment_wins(vrun):
    def main():
        return (yield race(nap(1, result="a"), nap(1, result="b"))), now()

    assert vrun(main()) == ("a", 1)


def test_the_first_to_end_at_once_wins_and_the_others_are_ended(vrun):
    log = []

    def at_once():
        return "at once"
        yield

    def main():
        return (yield race(at_once(), nap(5, log), nap(6, log))), now()

    assert vrun(main()) == ("at once", 0)
    assert ("nap", "done") not in log


@every_child
def test_the_failure_of_the_first_to_end_is_raised_itself(vrun, children):
    log = []

    def main():
        try:
            yield race(children.nap(9, log), children.fail(1, KeyError("k")))
        except KeyError as error:
            log.append((repr(error), now()))

    vrun(main())
    assert log == [("nap", "cancelled"), ("KeyError('k')", 1)]


def test_the_failure_of_a_winner_has_a_note_and_the_traceback(vrun):
    def main():
        yield race(fail(1, KeyError("k")), nap(2))

    with pytest.raises(KeyError) as caught:
        vrun(main())
    assert any("fail" in note for note in caught.value.__notes__)
    assert caught.traceback[-1].name == "fail"


def test_a_loser_that_fails_makes_an_exception_group(vrun):
    """A bare error would be the winner's, and the winner did not fail."""
    with pytest.raises(ExceptionGroup) as caught:
        vrun(race(spiteful(OSError("o")), nap(1, result="won")))
    assert errors_of(caught.value) == ["OSError('o')"]


def test_a_winner_and_a_loser_that_both_fail_make_an_exception_group(vrun):
    with pytest.raises(ExceptionGroup) as caught:
        vrun(race(spiteful(OSError("o")), fail(1, KeyError("k"))))
    assert sorted(errors_of(caught.value)) == ["KeyError('k')", "OSError('o')"]


def test_a_race_of_nobody_is_refused(vrun):
    def main():
        with pytest.raises(ValueError):
            yield race()

    vrun(main())


def test_a_race_of_one_is_won_by_it(vrun):
    assert vrun(race(nap(1, result="a"))) == "a"


def test_races_report_no_crashes(vrun):
    crashes = []

    def main():
        with pytest.raises(KeyError):
            yield race(fail(1, KeyError("k")), nap(9))

    vrun(main(), on_crash=crashes.append)
    assert crashes == []


def test_a_race_against_a_sleep_is_a_timeout(vrun):
    def main():
        return (yield race(nap(9, result="work"), nap(2, result="timeout"))), now()

    assert vrun(main()) == ("timeout", 2)


@pytest.mark.parametrize("combine", [gather, race])
def test_sys_exit_comes_out_of_gather_and_race_bare(vrun, combine):
    def leave():
        yield sleep(1)
        sys.exit(3)

    log = []
    with pytest.raises(SystemExit) as caught:
        vrun(combine(leave(), nap(9, log)))
    assert caught.value.code == 3
    assert log == [("nap", "cancelled")]


@pytest.mark.parametrize("combine", [gather, race])
def test_gather_and_race_keep_nothing_of_what_has_ended(vrun, combine):
    watched = []

    def main():
        yield combine(*(holding(n, watched) for n in (1, 2)))
        yield
        gc.collect()
        return [ref() for ref in watched]

    assert vrun(main()) == [None, None]


def test_what_waits_for_the_children_of_a_left_block_keeps_nothing_alive():
    class App:
        def report(self, task):
            pass

        def main(self):
            self.task = current_task()
            with TaskGroup() as group:
                yield group.spawn(nap(10))
                raise LookupError

    app = App()
    gone = weakref.ref(app)
    with Kernel(clock=VirtualClock(), on_crash=app.report) as kernel:
        with pytest.raises(ExceptionGroup):
            kernel.run(app.main())
    del app, kernel
    gc.collect()
    assert gone() is None
