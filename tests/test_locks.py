"""Lock and RLock: who owns one, who is next, and what is left when an owner ends."""

from __future__ import annotations

import logging
import math
import threading
from functools import partial

import pytest
from helpers import ProcessorTime, assert_ten_times_as_many_cost_about_ten_times_as_much, vrun

from microthreads import (
    BrokenLockError,
    Cancelled,
    Channel,
    Condition,
    DeadlockError,
    Event,
    Kernel,
    Lock,
    RLock,
    current_task,
    join,
    move_on_after,
    now,
    run,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

BOTH = pytest.mark.parametrize("make", [Lock, RLock])


def holding(lock, log, name, seconds=0.0):
    """Take the lock, log it, keep it for so long."""
    with (yield lock.acquire()):
        log.append(name)
        yield sleep(seconds)


def outcome_of(call, log, name):
    """Make `call`, and log what comes of it."""
    try:
        value = yield call
    except BrokenLockError:
        log.append((name, "broken"))
    except RuntimeError as error:
        log.append((name, "refused", str(error)))
    except Cancelled:
        log.append((name, "cancelled"))
        raise
    else:
        log.append((name, value if isinstance(value, (bool, tuple)) else "owns it"))


def keep(lock):
    """End with the lock in one's hands."""
    yield lock.acquire()


# ---- acquire and release


@BOTH
def test_a_free_lock_is_taken_at_once(vrun, make):
    def main():
        lock = make()
        before = lock.locked(), lock.owner
        guard = yield lock.acquire()
        held = lock.locked(), lock.owner is current_task(), bool(guard), now()
        lock.release()
        return before, held, (lock.locked(), lock.owner)

    assert vrun(main()) == ((False, None), (True, True, True, 0), (False, None))


@BOTH
def test_taking_a_free_lock_is_a_schedule_point_all_the_same(vrun, make):
    log = []

    def other():
        log.append("other")
        yield

    def main():
        lock = make()
        yield spawn(other())
        log.append("asks")
        yield lock.acquire()
        log.append("has it")
        lock.release()

    vrun(main())
    assert log == ["other", "asks", "has it"]


def test_acquiring_a_free_lock_lets_all_others_run_once(vrun):
    log = []

    def other(name):
        for step in range(2):
            log.append((name, step))
            yield

    def main():
        lock = Lock()
        for name in "ab":
            yield spawn(other(name))
        log.append("asks")
        yield lock.acquire()
        log.append("has it")
        lock.release()

    vrun(main())
    assert log.index("has it") - log.index("asks") >= 2, log


@BOTH
def test_a_released_lock_goes_to_the_first_that_waits(vrun, make, as_task):
    log = []

    def main():
        lock = make()
        yield lock.acquire()
        for name in range(6):
            yield spawn(as_task(holding(lock, log, name)))
        yield sleep(1)
        log.append("release")
        lock.release()

    vrun(main())
    assert log == ["release", 0, 1, 2, 3, 4, 5]


@BOTH
def test_a_lock_is_handed_on_by_its_release_and_not_later(vrun, make):
    def main():
        lock = make()
        yield lock.acquire()
        task = yield spawn(holding(lock, [], "next", 1))
        yield sleep(1)
        lock.release()
        return lock.locked(), lock.owner is task

    assert vrun(main()) == (True, True)


@BOTH
def test_a_task_that_releases_and_acquires_at_once_goes_behind_those_that_wait(vrun, make):
    log = []

    def greedy(lock, name):
        for _ in range(3):
            yield lock.acquire()
            log.append(name)
            lock.release()

    def main():
        lock = make()
        yield lock.acquire()
        for name in "abc":
            yield spawn(greedy(lock, name))
        yield sleep(1)
        lock.release()

    vrun(main())
    assert log == list("abc" * 3)


@BOTH
def test_a_newcomer_does_not_barge_in_before_the_new_owner_has_run(vrun, make):
    log = []

    def main():
        lock = make()
        yield lock.acquire()
        yield spawn(holding(lock, log, "waiting", 1))
        yield sleep(1)
        lock.release()
        log.append((yield lock.acquire(blocking=False)))
        yield lock.acquire()
        log.append("newcomer")
        lock.release()

    vrun(main())
    assert log == ["waiting", False, "newcomer"]


@BOTH
def test_no_two_tasks_are_ever_inside(vrun, make, as_task):
    inside = []

    def worker(lock, name):
        for _ in range(5):
            with (yield lock.acquire()):
                assert inside == []
                inside.append(name)
                yield sleep(name % 3)
                inside.remove(name)
            yield sleep(name % 2)

    def main():
        lock = make()
        for name in range(10):
            yield spawn(as_task(worker(lock, name)))

    vrun(main())
    assert inside == []


def test_owner_is_the_task_that_has_been_given_the_lock(vrun):
    log = []

    def main():
        lock = Lock()
        yield lock.acquire()
        first = yield spawn(holding(lock, log, "first", 1), name="first")
        second = yield spawn(holding(lock, log, "second", 1), name="second")
        yield sleep(1)
        owners = [lock.owner]
        lock.release()
        owners.append(lock.owner)
        yield join(first)
        owners.append(lock.owner)
        yield join(second)
        owners.append(lock.owner)
        return owners == [current_task(), first, second, None]

    assert vrun(main())
    assert log == ["first", "second"]


def test_a_child_does_not_own_what_its_parent_owns(vrun):
    def child(lock):
        with pytest.raises(RuntimeError, match="parent"):
            lock.release()
        return (yield lock.acquire(False))

    def main():
        lock = RLock()
        yield lock.acquire()
        result = yield (yield spawn(child(lock)))
        lock.release()
        return result

    def parent():
        return (yield main())

    assert vrun(parent()) is False


def test_a_routine_that_was_yielded_owns_what_its_task_owns(vrun):
    def helper(lock):
        lock.release()
        yield

    def main():
        lock = Lock()
        yield lock.acquire()
        yield helper(lock)
        return lock.locked()

    assert vrun(main()) is False


# ---- blocks


@BOTH
@pytest.mark.parametrize("error", [None, ValueError, Cancelled])
def test_a_with_block_releases_however_it_ends(vrun, make, error):
    def user(lock):
        with (yield lock.acquire()):
            if error is Cancelled:
                current_task().cancel()
            elif error:
                raise error
            yield

    def main():
        lock = make()
        task = yield spawn(user(lock))
        if error is None:
            yield task
        else:
            with pytest.raises(error):
                yield task
        return lock.locked(), lock.owner

    assert vrun(main()) == (False, None)


@BOTH
@pytest.mark.parametrize("error", [None, ValueError, Cancelled])
def test_an_async_with_block_releases_however_it_ends(vrun, make, error):
    async def user(lock):
        async with lock:
            assert lock.owner is current_task()
            if error is Cancelled:
                current_task().cancel()
            elif error:
                raise error
            await sleep(0)

    async def main():
        lock = make()
        task = await spawn(user(lock))
        if error is None:
            await task
        else:
            with pytest.raises(error):
                await task
        return lock.locked()

    assert vrun(main()) is False


def test_a_with_block_over_an_awaited_acquire_works_in_a_coroutine(vrun):
    async def main():
        lock = Lock()
        with await lock.acquire():
            held = lock.locked()
        return held, lock.locked()

    assert vrun(main()) == (True, False)


def test_an_async_with_waits_its_turn(vrun):
    log = []

    async def user(lock, name):
        async with lock:
            log.append(name)
            await sleep(1)

    async def main():
        lock = Lock()
        for name in "abc":
            await spawn(user(lock, name))

    vrun(main())
    assert log == list("abc")


@BOTH
def test_a_plain_with_is_a_type_error_that_says_what_to_write(vrun, make):
    def main():
        lock = make(name="db")
        with pytest.raises(TypeError) as caught:
            with lock:
                pass
        yield
        return lock.locked(), str(caught.value)

    locked, text = vrun(main())
    assert not locked
    assert "with (yield lock.acquire())" in text
    assert "async with lock" in text
    assert "db" in text


@BOTH
def test_a_with_block_whose_yield_was_forgotten_fails_and_takes_nothing(vrun, make):
    def main():
        lock = make()
        with pytest.raises(TypeError):
            with lock.acquire():
                pass
        yield
        return lock.locked()

    assert vrun(main()) is False


def test_an_exception_in_a_with_block_is_not_replaced_when_the_lock_was_released_early(vrun):
    def main():
        lock = Lock()
        with pytest.raises(BaseException) as caught:
            with (yield lock.acquire()):
                lock.release()
                raise ValueError("the cause")
        yield
        error = caught.value
        seen = []
        while error is not None:
            seen.append(str(error))
            error = error.__cause__ or error.__context__
        return seen

    assert "the cause" in vrun(main())


# ---- limits of time


@BOTH
def test_an_acquire_that_does_not_block_says_whether_it_took_the_lock(vrun, make):
    def main():
        lock = make()
        first = yield lock.acquire(blocking=False)
        task = yield spawn(result_of(lock.acquire(False)))
        second = yield task
        lock.release()
        return bool(first), second, lock.locked(), now()

    assert vrun(main()) == (True, False, False, 0)


def result_of(call):
    return (yield call)


@BOTH
@pytest.mark.parametrize("seconds", [0, 0.0, 2, 2.5])
def test_a_timed_acquire_is_false_when_its_time_is_over(vrun, make, seconds, as_task):
    def main():
        lock = make()
        yield lock.acquire()
        task = yield spawn(as_task(result_of(lock.acquire(timeout=seconds))))
        result = yield task
        ended = now()
        lock.release()
        return result, ended, lock.locked()

    assert vrun(main()) == (False, seconds, False)


@BOTH
def test_a_timed_acquire_takes_the_lock_when_it_comes_in_time(vrun, make):
    def user(lock):
        guard = yield lock.acquire(timeout=10)
        assert guard
        with guard:
            return now()

    def main():
        lock = make()
        yield lock.acquire()
        task = yield spawn(user(lock))
        yield sleep(3)
        lock.release()
        ended = yield task
        return ended, now(), lock.locked()

    assert vrun(main()) == (3, 3, False)


@pytest.mark.parametrize("seconds", [-1, -1.0, math.inf])
def test_an_acquire_without_a_limit_waits_as_long_as_it_takes(vrun, seconds):
    def user(lock):
        with (yield lock.acquire(True, seconds)):
            return now()

    def main():
        lock = Lock()
        yield lock.acquire()
        task = yield spawn(user(lock))
        yield sleep(1_000_000)
        lock.release()
        return (yield task)

    assert vrun(main()) == 1_000_000


def test_a_timed_out_acquire_leaves_its_place_to_the_next(vrun):
    log = []

    def main():
        lock = Lock()
        yield lock.acquire()
        yield spawn(outcome_of(lock.acquire(timeout=1), log, "impatient"))
        yield spawn(holding(lock, log, "patient"))
        yield sleep(2)
        lock.release()

    vrun(main())
    assert log == [("impatient", False), "patient"]


@pytest.mark.parametrize("release_first", [True, False])
def test_a_release_and_a_timeout_at_one_moment_neither_lose_nor_double_the_lock(
    vrun, release_first
):
    log = []

    def releasing(lock):
        yield lock.acquire()
        if not release_first:
            yield sleep(0)  # so that the other's timer is set before this one's
            yield sleep(0)
        yield sleep(1)
        lock.release()

    def timed(lock):
        got = yield lock.acquire(timeout=1)
        log.append(bool(got))
        if got:
            assert lock.owner is current_task()
            lock.release()

    def main():
        lock = Lock()
        yield spawn(releasing(lock))
        yield spawn(timed(lock))
        yield sleep(5)
        return lock.locked(), bool((yield lock.acquire(False))), lock.release()

    assert vrun(main()) == (False, True, None)
    assert len(log) == 1


def test_a_timeout_block_around_an_acquire_takes_nothing(vrun):
    def main():
        lock = Lock()
        yield spawn(holding(lock, [], "holder", 10))
        yield
        with pytest.raises(TimeoutError):
            with timeout(1):
                yield lock.acquire()
        with move_on_after(1) as scope:
            yield lock.acquire()
        times = now()
        yield lock.acquire()
        lock.release()
        return scope.expired, times, now(), lock.locked()

    assert vrun(main()) == (True, 2, 10, False)


def test_a_timeout_in_the_block_of_a_lock_releases_it(vrun):
    def main():
        lock = Lock()
        with move_on_after(1):
            with (yield lock.acquire()):
                yield sleep(100)
        return lock.locked()

    assert vrun(main()) is False


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"blocking": False, "timeout": 1}, ValueError),
        ({"blocking": False, "timeout": 0}, ValueError),
        ({"timeout": -2}, ValueError),
        ({"timeout": -0.5}, ValueError),
        ({"timeout": math.nan}, ValueError),
        ({"timeout": "1"}, TypeError),
    ],
)
@BOTH
def test_wrong_limits_are_refused(vrun, make, arguments, error):
    def main():
        lock = make()
        with pytest.raises(error):
            yield lock.acquire(**arguments)
        yield
        return lock.locked()

    assert vrun(main()) is False


@pytest.mark.parametrize("make", [Lock, RLock, Condition])
def test_the_limits_of_threading_are_refused_as_it_refuses_them(vrun, make):
    twin = {Lock: threading.Lock, RLock: threading.RLock, Condition: threading.Condition}[make]()

    def main():
        for arguments in [(False, 1), (False, 0), (True, -2)]:
            with pytest.raises(ValueError):
                twin.acquire(*arguments)
            with pytest.raises(ValueError):
                yield make().acquire(*arguments)
        yield

    vrun(main())


# ---- cancel


@BOTH
def test_a_cancelled_waiter_takes_nothing_and_the_next_one_is_served(vrun, make, as_task):
    log = []

    def main():
        lock = make()
        yield lock.acquire()
        tasks = []
        for name in "abc":
            task = yield spawn(as_task(outcome_then_release(lock, log, name)))
            tasks.append(task)
        yield sleep(1)
        tasks[0].cancel()
        lock.release()
        yield sleep(1)
        return lock.locked()

    assert vrun(main()) is False
    assert log == [("a", "cancelled"), ("b", "owns it"), ("c", "owns it")]


def outcome_then_release(lock, log, name):
    yield outcome_of(lock.acquire(), log, name)
    lock.release()


@BOTH
def test_a_cancel_that_comes_after_the_lock_leaves_the_lock_owned_and_is_raised_next(
    vrun, make, as_task
):
    log = []

    def user(lock):
        yield lock.acquire()
        log.append(lock.owner is current_task())
        try:
            yield
        except Cancelled:
            log.append("cancelled")
            raise
        finally:
            lock.release()

    def main():
        lock = make()
        yield lock.acquire()
        task = yield spawn(as_task(user(lock)))
        yield sleep(1)
        lock.release()
        task.cancel()
        yield sleep(1)
        return lock.locked()

    assert vrun(main()) is False
    assert log == [True, "cancelled"]


def test_a_cancelled_task_gets_no_free_lock(vrun):
    log = []

    def user(lock):
        current_task().cancel()
        yield from outcome_of(lock.acquire(), log, "user")

    def main():
        lock = Lock()
        yield spawn(user(lock))
        yield sleep(1)
        return lock.locked()

    assert vrun(main()) is False
    assert log == [("user", "cancelled")]


def test_a_shield_lets_a_cancelled_task_take_a_lock_for_its_clean_up(vrun):
    log = []

    def user(lock):
        try:
            yield sleep(100)
        finally:
            with shield(10):
                with (yield lock.acquire()):
                    log.append(now())

    def main():
        lock = Lock()
        yield lock.acquire()
        task = yield spawn(user(lock))
        yield sleep(1)
        task.cancel()
        yield sleep(1)
        lock.release()

    vrun(main())
    assert log == [2]


def test_many_waiters_that_are_cancelled_leave_the_order_of_the_rest(vrun):
    log = []

    def main():
        lock = Lock()
        yield lock.acquire()
        tasks = []
        for name in range(30):
            tasks.append((yield spawn(holding(lock, log, name))))
        yield sleep(1)
        for number in list(range(0, 30, 3)) + list(range(1, 30, 3)):
            tasks[number].cancel()
        yield sleep(1)
        lock.release()

    vrun(main())
    assert log == list(range(2, 30, 3))


# ---- who may release


@BOTH
def test_releasing_what_another_owns_is_a_runtime_error_that_names_the_owner(vrun, make):
    def main():
        lock = make(name="ledger")
        yield spawn(holding(lock, [], "x", 5), name="accountant")
        yield sleep(1)
        with pytest.raises(RuntimeError) as caught:
            lock.release()
        return str(caught.value), lock.owner.name

    text, owner = vrun(main())
    assert "ledger" in text
    assert "accountant" in text
    assert owner == "accountant"


@BOTH
def test_releasing_what_nobody_owns_is_a_runtime_error(vrun, make):
    def main():
        lock = make()
        with pytest.raises(RuntimeError):
            lock.release()
        yield lock.acquire()
        lock.release()
        with pytest.raises(RuntimeError):
            lock.release()
        return lock.locked()

    assert vrun(main()) is False


@BOTH
def test_no_lock_is_released_where_no_task_runs(make):
    lock = make()
    with pytest.raises(RuntimeError):
        lock.release()

    def holder():
        with (yield lock.acquire()):
            yield sleep(math.inf)

    with Kernel(clock=VirtualClock()) as kernel:
        kernel.spawn(holder(), name="holder")
        for _ in range(3):
            kernel.tick()
        assert lock.locked()
        with pytest.raises(RuntimeError, match="holder"):
            lock.release()
        assert lock.locked()
    assert not lock.locked()


@pytest.mark.parametrize("arguments", [(), (True, 1)])
def test_acquiring_a_lock_again_is_a_runtime_error_that_keeps_it(vrun, arguments):
    def main():
        lock = Lock(name="ledger")
        yield lock.acquire()
        with pytest.raises(RuntimeError, match="ledger"):
            yield lock.acquire(*arguments)
        kept = lock.owner is current_task()
        lock.release()
        return kept, lock.locked()

    assert vrun(main()) == (True, False)


def test_acquiring_a_lock_again_is_refused_in_a_select_as_well(vrun):
    def main():
        lock = Lock()
        yield lock.acquire()
        with pytest.raises(RuntimeError):
            yield select(Event().wait(), lock.acquire())
        lock.release()
        yield

    vrun(main())


# ---- RLock


def test_an_rlock_is_free_when_it_was_released_as_often_as_acquired(vrun):
    log = []

    def main():
        lock = RLock()
        for depth in range(1, 4):
            yield lock.acquire()
            assert lock.depth == depth
        yield spawn(holding(lock, log, "other"))
        for left in (2, 1, 0):
            yield sleep(1)
            log.append(left)
            lock.release()
        yield sleep(1)
        with pytest.raises(RuntimeError):
            lock.release()
        return lock.locked(), lock.depth

    assert vrun(main()) == (False, 0)
    assert log == [2, 1, 0, "other"]


def test_an_rlock_can_be_taken_in_nested_blocks(vrun):
    async def inner(lock):
        async with lock:
            return lock.depth

    async def main():
        lock = RLock()
        async with lock:
            with await lock.acquire():
                depth = await inner(lock)
            once = lock.depth
        return depth, once, lock.locked()

    assert vrun(main()) == (3, 1, False)


def test_its_owner_passes_those_who_wait_for_an_rlock(vrun):
    log = []

    def main():
        lock = RLock()
        yield lock.acquire()
        yield spawn(holding(lock, log, "other"))
        yield sleep(1)
        for arguments in [(), (False,), (True, 5)]:
            assert (yield lock.acquire(*arguments))
        log.append("main")
        for _ in range(4):
            lock.release()

    vrun(main())
    assert log == ["main", "other"]


def test_an_rlock_that_is_handed_on_has_depth_one(vrun):
    def user(lock):
        yield lock.acquire()
        depth = lock.depth
        lock.release()
        return depth, lock.locked()

    def main():
        lock = RLock()
        yield lock.acquire()
        yield lock.acquire()
        task = yield spawn(user(lock))
        yield sleep(1)
        lock.release()
        lock.release()
        return (yield task)

    assert vrun(main()) == (1, False)


def test_an_rlock_can_be_selected_by_its_owner(vrun):
    def main():
        lock = RLock()
        yield lock.acquire()
        index, guard = yield select(Event().wait(), lock.acquire())
        depth = lock.depth
        with guard:
            pass
        lock.release()
        return index, depth, lock.locked()

    assert vrun(main()) == (1, 2, False)


def test_a_losing_branch_of_a_select_adds_no_depth_to_an_rlock(vrun):
    def main():
        lock, event = RLock(), Event()
        event.set()
        yield lock.acquire()
        index, _ = yield select(event.wait(), lock.acquire())
        depth = lock.depth
        lock.release()
        return index, depth, lock.locked()

    assert vrun(main()) == (0, 1, False)


# ---- select


@BOTH
def test_of_two_free_locks_a_select_takes_the_first_only(vrun, make, as_task):
    def user(first, second):
        index, guard = yield select(first.acquire(), second.acquire())
        state = first.locked(), second.locked()
        with guard:
            pass
        return index, state, first.locked()

    def main():
        return (yield (yield spawn(as_task(user(make(), make())))))

    assert vrun(main()) == (0, (True, False), False)


@BOTH
def test_a_select_takes_the_lock_that_comes_first_and_leaves_the_queue_of_the_other(vrun, make):
    log = []

    def chooser(first, second):
        index, guard = yield select(first.acquire(), second.acquire())
        log.append(index)
        with guard:
            yield sleep(1)

    def main():
        first, second = make(), make()
        yield first.acquire()
        yield second.acquire()
        yield spawn(chooser(first, second))
        yield spawn(holding(first, log, "behind it"))
        yield sleep(1)
        second.release()
        first.release()
        yield sleep(5)
        return first.locked(), second.locked()

    assert vrun(main()) == (False, False)
    assert log == [1, "behind it"]


def test_two_acquires_of_one_lock_in_one_select_take_it_once(vrun):
    def chooser(lock):
        index, guard = yield select(lock.acquire(), lock.acquire())
        with guard:
            yield
        return index, lock.locked()

    def main():
        lock = Lock()
        yield lock.acquire()
        task = yield spawn(chooser(lock))
        yield sleep(1)
        lock.release()
        return (yield task), lock.owner

    assert vrun(main()) == ((0, False), None)


def test_a_select_that_times_out_is_in_no_queue(vrun):
    def main():
        first, second = Lock(), RLock()
        holders = []
        for lock in (first, second):
            holders.append((yield spawn(holding(lock, [], "holder", 10))))
        yield sleep(1)
        index, _ = yield select(first.acquire(), sleep(2), second.acquire(timeout=100))
        for task in holders:
            yield join(task)
        return index, first.locked(), second.locked()

    assert vrun(main()) == (1, False, False)


def test_a_timed_acquire_in_a_select_gives_false_when_its_time_is_over(vrun):
    def main():
        lock = Lock()
        yield spawn(holding(lock, [], "holder", 10))
        yield sleep(1)
        return (yield select(Event().wait(), lock.acquire(timeout=3))), now()

    assert vrun(main()) == ((1, False), 4)


def test_a_select_inside_a_select_takes_a_lock_once(vrun):
    def chooser(first, second):
        index, (inner, guard) = yield select(
            select(first.acquire(), Event().wait()), select(Event().wait(), second.acquire())
        )
        state = index, inner, first.locked(), second.locked()
        with guard:
            pass
        return state

    def main():
        first, second = Lock(), Lock()
        yield first.acquire()
        yield second.acquire()
        task = yield spawn(chooser(first, second))
        yield sleep(1)
        second.release()
        yield sleep(1)
        state = task.result()
        first.release()
        return state

    assert vrun(main()) == (1, 1, True, True)


def test_a_cancelled_select_takes_no_lock(vrun):
    def main():
        first, second = Lock(), Lock()
        yield first.acquire()
        yield second.acquire()
        task = yield spawn(outcome_of(select(first.acquire(), second.acquire()), [], "x"))
        yield sleep(1)
        task.cancel()
        second.release()
        first.release()
        yield sleep(1)
        return first.locked(), second.locked()

    assert vrun(main()) == (False, False)


def test_a_value_and_a_lock_in_one_select_come_one_at_a_time(vrun):
    def chooser(lock, channel):
        won = []
        for _ in range(2):
            index, value = yield select(lock.acquire(), channel.recv())
            won.append(index)
            if index == 0:
                lock.release()
        return won

    def main():
        lock, channel = Lock(), Channel(1)
        yield lock.acquire()
        task = yield spawn(chooser(lock, channel))
        yield sleep(1)
        channel.try_send("value")
        lock.release()
        return (yield task), lock.locked(), len(channel)

    assert vrun(main()) == ([1, 0], False, 0)


# ---- a task ends holding a lock


def ends_by(how):
    def holder(lock):
        yield lock.acquire()
        yield sleep(1)
        if how == "raise":
            raise ValueError("on purpose")
        if how == "cancel":
            current_task().cancel()
            yield

    return holder


@BOTH
@pytest.mark.parametrize("how", ["return", "raise", "cancel"])
def test_a_task_that_ends_holding_a_lock_is_logged_and_its_waiters_get_broken_lock_error(
    vrun, caplog, make, how, as_task
):
    log = []

    def main():
        lock = make(name="ledger")
        holder = yield spawn(as_task(ends_by(how)(lock)), name="accountant")
        yield
        for name in "abc":
            yield spawn(as_task(outcome_of(lock.acquire(), log, name)))
        try:
            yield holder
        except (ValueError, Cancelled) as error:
            if isinstance(error, Cancelled) and error.scope is current_task():
                raise
        yield sleep(1)
        log.append(now())

    vrun(main())
    assert log == [("a", "broken"), ("b", "broken"), ("c", "broken"), 2]
    records = [r for r in caplog.records if r.name == "microthreads" and "ledger" in r.getMessage()]
    assert len(records) == 1
    assert records[0].levelno >= logging.WARNING
    assert "accountant" in records[0].getMessage()


@pytest.mark.parametrize("make", [Lock, RLock])
def test_whoever_asks_for_a_broken_lock_gets_broken_lock_error(vrun, caplog, make):
    def main():
        lock = make(name="ledger")
        yield (yield spawn(keep(lock), name="accountant"))
        calls = [
            lock.acquire(),
            lock.acquire(False),
            lock.acquire(timeout=5),
            select(Event().wait(), lock.acquire()),
        ]
        for call in calls:
            with pytest.raises(BrokenLockError) as caught:
                yield call
            assert "ledger" in str(caught.value)
            assert "accountant" in str(caught.value)
        with pytest.raises(BrokenLockError):
            lock.release()
        with pytest.raises(BrokenLockError):
            with (yield lock.acquire()):
                pass
        return now()

    assert vrun(main()) == 0


def test_an_async_with_of_a_broken_lock_raises_broken_lock_error(vrun, caplog):
    async def main():
        lock = Lock()
        await (await spawn(keep(lock)))
        with pytest.raises(BrokenLockError):
            async with lock:
                pass

    vrun(main())


@pytest.mark.parametrize("make", [Lock, RLock])
def test_an_unnotified_waiter_of_a_condition_gets_broken_lock_error_too(vrun, caplog, make):
    log = []

    def waiter(condition, name):
        try:
            with (yield condition.acquire()):
                yield condition.wait()
        except BrokenLockError:
            log.append((name, "broken"))

    async def async_waiter(condition, name):
        try:
            async with condition:
                await condition.wait_for(lambda: False, 1000)
        except BrokenLockError:
            log.append((name, "broken"))

    def main():
        lock = make()
        first, second = Condition(lock), Condition(lock)
        yield spawn(waiter(first, "first"))
        yield spawn(async_waiter(second, "second"))
        yield sleep(1)
        yield (yield spawn(keep(lock)))
        yield sleep(1)
        return now()

    assert vrun(main()) == 2
    assert sorted(log) == [("first", "broken"), ("second", "broken")]


def test_leaving_the_blocks_of_a_broken_lock_does_not_mask_the_error(vrun, caplog):
    def waiter(condition, lock):
        with (yield lock.acquire()):
            with (yield lock.acquire()):
                yield condition.wait()

    def main():
        lock = RLock()
        task = yield spawn(waiter(Condition(lock), lock))
        yield sleep(1)
        yield (yield spawn(keep(lock)))
        with pytest.raises(BrokenLockError) as caught:
            yield task
        return caught.value.__context__

    assert vrun(main()) is None


def test_a_selected_lock_that_breaks_fails_the_select(vrun, caplog):
    log = []

    def main():
        broken, other = Lock(), Lock()
        yield other.acquire()
        holder = yield spawn(ends_by("return")(broken))
        yield
        yield spawn(outcome_of(select(other.acquire(), broken.acquire()), log, "select"))
        yield holder
        yield sleep(1)
        other.release()
        return other.locked()

    assert vrun(main()) is False
    assert log == [("select", "broken")]


def test_all_locks_of_a_task_that_ends_break(vrun, caplog):
    log = []

    def hoarder(locks):
        for lock in locks:
            yield lock.acquire()
        locks[1].release()
        yield sleep(1)

    def main():
        locks = [Lock(name=name) for name in "xyz"]
        yield spawn(hoarder(locks))
        yield sleep(0.5)
        for lock in locks:
            yield spawn(outcome_then_maybe_release(lock, log))

    vrun(main())
    assert sorted(log) == [("x", "broken"), ("y", "owns it"), ("z", "broken")]
    assert sum("without releasing" in record.getMessage() for record in caplog.records) == 2


def outcome_then_maybe_release(lock, log):
    yield outcome_of(lock.acquire(), log, lock.name)
    if lock.owner is current_task():
        lock.release()


def test_a_lock_that_reached_a_task_which_ends_at_once_breaks(vrun, caplog):
    """The lock is handed to a task whose late cancel ends it before it can release."""
    log = []

    def main():
        lock = Lock()
        yield lock.acquire()
        task = yield spawn(careless(lock))
        yield spawn(outcome_of(lock.acquire(), log, "next"))
        yield sleep(1)
        lock.release()
        task.cancel()

    def careless(lock):
        yield lock.acquire()
        yield sleep(1)
        lock.release()

    vrun(main())
    assert log == [("next", "broken")]


def test_main_that_ends_holding_a_lock_breaks_it(vrun, caplog):
    log = []

    def main(lock):
        yield lock.acquire()
        yield spawn(outcome_of(lock.acquire(), log, "other"))
        yield sleep(1)

    vrun(main(Lock(name="ledger")))
    assert log == [("other", "broken")]
    assert any("ledger" in record.getMessage() for record in caplog.records)


def test_a_daemon_releases_in_its_finally_when_the_run_ends(vrun, caplog):
    lock = Lock()

    def main():
        yield spawn(holding(lock, [], "daemon", 1000), daemon=True)
        yield sleep(1)

    vrun(main())
    assert not lock.locked()
    assert not caplog.records


# ---- deadlocks


def take_both(first, second):
    with (yield first.acquire()):
        yield sleep(1)
        with (yield second.acquire()):
            pass


@BOTH
def test_a_deadlock_report_names_the_locks_their_owners_and_the_cycle(vrun, make, as_task):
    def main():
        left, right = make(name="left fork"), make(name="right fork")
        yield spawn(as_task(take_both(left, right)), name="plato")
        yield spawn(as_task(take_both(right, left)), name="kant")

    with pytest.raises(DeadlockError) as caught:
        vrun(main())
    text = str(caught.value)
    lines = text.splitlines()
    plato = next(line for line in lines if "plato" in line)
    assert "acquire" in plato
    assert "right fork" in plato
    assert "kant" in plato
    cycle = text[text.index("cycle") :]
    assert "plato" in cycle
    assert "kant" in cycle
    assert "left fork" in cycle
    assert "right fork" in cycle
    assert [info.name for info in caught.value.snapshot.cycle] == ["plato", "kant"]


def test_a_deadlock_of_five_philosophers_shows_all_five_in_a_circle(vrun):
    def main():
        forks = [Lock(name=f"fork {number}") for number in range(5)]
        for number in range(5):
            yield spawn(
                take_both(forks[number], forks[(number + 1) % 5]), name=f"philosopher {number}"
            )

    with pytest.raises(DeadlockError) as caught:
        vrun(main())
    assert [info.name for info in caught.value.snapshot.cycle] == [
        f"philosopher {number}" for number in range(5)
    ]


def test_a_timed_acquire_that_waits_is_no_deadlock_and_its_report_names_the_owner(vrun):
    def main():
        lock = Lock(name="ledger")
        yield lock.acquire()
        task = yield spawn(result_of(lock.acquire(timeout=5)))
        yield sleep(1)
        shown = str(task.waiting_on)
        yield task
        lock.release()
        return shown

    shown = vrun(main())
    assert "acquire" in shown
    assert "ledger" in shown
    assert "main" in shown


def test_a_deadlock_of_a_join_and_a_lock_is_a_cycle(vrun):
    def child(lock):
        with (yield lock.acquire()):
            pass

    def main():
        lock = Lock(name="ledger")
        with (yield lock.acquire()):
            yield (yield spawn(child(lock), name="child"))

    with pytest.raises(DeadlockError) as caught:
        vrun(main())
    assert sorted(info.name for info in caught.value.snapshot.cycle) == ["child", "main"]


def test_a_lock_whose_owner_waits_in_vain_is_a_deadlock_without_a_cycle(vrun):
    def owner():
        lock = Lock(name="ledger")
        with (yield lock.acquire()):
            yield spawn(holding(lock, [], "x"), name="other")
            yield Event(name="never").wait()

    with pytest.raises(DeadlockError) as caught:
        vrun(owner())
    text = str(caught.value)
    assert caught.value.snapshot.cycle == ()
    assert "ledger" in text
    assert "never" in text
    assert "owned by" in text


def test_after_a_deadlock_the_locks_are_free_since_their_blocks_were_left(vrun):
    left, right = Lock(), Lock()

    def main():
        yield spawn(take_both(left, right))
        yield spawn(take_both(right, left))

    with pytest.raises(DeadlockError):
        vrun(main())
    assert not left.locked()
    assert not right.locked()

    def again():
        with (yield left.acquire()):
            with (yield right.acquire()):
                return True

    assert vrun(again())


# ---- more than one kernel


@BOTH
def test_a_lock_goes_on_from_one_run_to_the_next(vrun, make):
    lock, log = make(), []

    def main(name):
        yield spawn(holding(lock, log, name, 1))
        yield spawn(holding(lock, log, name + 1))

    vrun(main(1))
    vrun(main(3))
    assert log == [1, 2, 3, 4]


@pytest.mark.parametrize("make", [Lock, RLock])
def test_a_lock_held_at_the_end_of_a_run_is_broken_in_the_next(vrun, caplog, make):
    lock, log = make(), []
    vrun(keep(lock))
    vrun(outcome_of(lock.acquire(), log, "second run"))
    assert log == [("second run", "broken")]


def test_two_kernels_in_two_threads_cannot_contend_for_one_lock():
    lock = Lock()
    held, done = threading.Event(), threading.Event()
    log = []

    def holder():
        with (yield lock.acquire()):
            held.set()
            while not done.is_set():
                yield sleep(0.005)

    def other():
        try:
            yield lock.acquire()
        except RuntimeError as error:
            log.append(str(error))
        else:
            log.append("took it")
        with pytest.raises(RuntimeError):
            lock.release()

    def second_thread():
        held.wait(10)
        try:
            run(other())
        finally:
            done.set()

    thread = threading.Thread(target=second_thread)
    thread.start()
    run(holder())
    thread.join(10)
    assert len(log) == 1
    assert log != ["took it"]
    assert not lock.locked()


def test_two_embedded_kernels_in_one_thread_cannot_contend_for_one_lock():
    lock, log = Lock(), []
    with Kernel(clock=VirtualClock()) as one, Kernel(clock=VirtualClock()) as two:
        holder = one.spawn(holding(lock, log, "one", 5))
        for _ in range(3):
            one.tick()
        other = two.spawn(outcome_of(lock.acquire(), log, "two"))
        for _ in range(3):
            two.tick()
        assert other.done
        assert log[0] == "one"
        assert log[1][:2] == ("two", "refused")
        holder.cancel()
    assert not lock.locked()


# ---- the call itself


def test_one_acquire_can_be_made_again_and_again(vrun):
    def main():
        lock = Lock()
        call = lock.acquire()
        for _ in range(3):
            with (yield call):
                assert lock.locked()
        return lock.locked()

    assert vrun(main()) is False


@pytest.mark.forgets
def test_making_an_acquire_does_nothing_until_it_is_yielded():
    lock = Lock()
    lock.acquire()
    lock.acquire(False)
    assert not lock.locked()
    assert lock.owner is None


def test_one_acquire_in_two_tasks_is_refused_and_the_first_is_served(vrun):
    def main():
        lock = Lock()
        yield lock.acquire()
        call = lock.acquire()
        first = yield spawn(outcome_then_release_call(lock, call))
        second = yield spawn(result_of(call))
        with pytest.raises(RuntimeError):
            yield second
        lock.release()
        return (yield first), lock.locked()

    assert vrun(main()) == (True, False)


def outcome_then_release_call(lock, call):
    with (yield call):
        return lock.owner is current_task()


@BOTH
def test_a_lock_shows_its_name_and_its_owner(vrun, make):
    def main():
        lock = make(name="ledger")
        free = repr(lock)
        yield lock.acquire()
        held = repr(lock)
        lock.release()
        return free, held

    free, held = vrun(main())
    assert "ledger" in free
    assert make.__name__ in free
    assert "main" not in free
    assert "main" in held


@BOTH
def test_every_lock_is_true(make):
    assert make()


@BOTH
def test_a_name_is_given_by_keyword_only(make):
    assert make(name="ledger").name == "ledger"
    assert make().name is None
    with pytest.raises(TypeError):
        make("ledger")


@pytest.mark.forgets
def test_the_calls_of_a_lock_have_a_repr_before_they_are_made():
    lock = Lock(name="ledger")
    for call in [lock.acquire(), lock.acquire(False), lock.acquire(timeout=3)]:
        assert "ledger" in repr(call)
        assert "acquire" in str(call)


# ---- cost


def seconds_to_hand_on(make, n):
    """Processor time of handing a lock through `n` tasks that wait for it."""

    def user(lock):
        yield lock.acquire()
        lock.release()

    def main():
        lock = make()
        yield lock.acquire()
        for _ in range(n):
            yield spawn(user(lock))
        yield sleep(1)
        with ProcessorTime() as took:
            lock.release()
            # The last in the queue: when it is main's again, all have had it.
            yield lock.acquire()
        lock.release()
        return took.seconds

    return vrun(main())


@BOTH
def test_ten_times_the_waiters_of_a_lock_cost_about_ten_times_as_much(unobserved, make):
    assert_ten_times_as_many_cost_about_ten_times_as_much(partial(seconds_to_hand_on, make))
