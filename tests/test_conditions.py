"""Condition: who is notified, and that whoever waits has the lock back, whatever ends the wait."""

from __future__ import annotations

import math

import pytest
from helpers import ProcessorTime, assert_ten_times_as_many_cost_about_ten_times_as_much, vrun

from microthreads import (
    BrokenLockError,
    Cancelled,
    Channel,
    Condition,
    DeadlockError,
    Event,
    Lock,
    RLock,
    current_task,
    join,
    move_on_after,
    now,
    select,
    sleep,
    spawn,
    timeout,
)


@pytest.fixture(params=[Lock, RLock])
def make(request):
    """What makes a condition, on either kind of lock."""
    return lambda **options: Condition(request.param(), **options)


def owned(condition):
    """Whether the running task owns the lock of `condition`, as its release shows."""
    try:
        condition.release()
    except RuntimeError:
        return False
    return True


def waiting(condition, log, name, seconds=None, *, hold=0.0):
    """Take the lock, wait, log what came of it, keep the lock for a while."""
    yield condition.acquire()
    try:
        log.append((name, (yield condition.wait(seconds))))
        if hold:
            yield sleep(hold)
    except Cancelled:
        log.append((name, "cancelled"))
        raise
    finally:
        if not owned(condition):
            log.append((name, "does not own the lock"))


def notifying(condition, n=1):
    with (yield condition.acquire()):
        condition.notify(n)


def all_notified(condition):
    with (yield condition.acquire()):
        condition.notify_all()


def waiters(condition, log, names, as_task=lambda routine: routine):
    """Start a task that waits for each of `names`; all wait when this returns."""
    tasks = []
    for name in names:
        tasks.append((yield spawn(as_task(waiting(condition, log, name)), name=str(name))))
    yield sleep(1)
    return tasks


# ---- wait and notify


def test_a_notified_task_goes_on_with_the_lock(vrun, make, as_task):
    log = []

    def waiter(condition):
        yield condition.acquire()
        log.append("waits")
        result = yield condition.wait()
        log.append(("has", result, condition.locked()))
        condition.release()

    def main():
        condition = make()
        yield spawn(as_task(waiter(condition)))
        yield sleep(1)
        yield condition.acquire()
        log.append("notifies")
        condition.notify()
        yield sleep(1)
        log.append("releases")
        condition.release()

    vrun(main())
    assert log == ["waits", "notifies", "releases", ("has", True, True)]


def test_waiting_gives_the_lock_to_the_next_at_once(vrun, make):
    log = []

    def main():
        condition = make()
        yield spawn(waiting(condition, log, "waiter", 10))
        yield sleep(1)
        with (yield condition.acquire()):
            log.append(("main", now()))

    vrun(main())
    assert log == [("main", 1), ("waiter", False)]


def test_those_who_wait_are_notified_in_the_order_they_came(vrun, make, as_task):
    log = []

    def main():
        condition = make()
        yield waiters(condition, log, range(5), as_task)
        for _ in range(5):
            yield notifying(condition)
            yield sleep(1)

    vrun(main())
    assert log == [(name, True) for name in range(5)]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 100])
def test_as_many_go_on_as_were_notified(vrun, make, n):
    log = []

    def main():
        condition = make()
        yield waiters(condition, log, range(5))
        yield notifying(condition, n)
        yield sleep(1)
        count = len(log)
        yield all_notified(condition)
        return count

    assert vrun(main()) == min(n, 5)
    assert log == [(name, True) for name in range(5)]


def test_notifying_two_of_one_wakes_one_and_leaves_nothing_behind(vrun, make):
    log = []

    def main():
        condition = make()
        yield waiters(condition, log, ["first"])
        yield notifying(condition, 2)
        yield sleep(1)
        yield spawn(waiting(condition, log, "second", 5))

    vrun(main())
    assert log == [("first", True), ("second", False)]


def test_a_notification_that_nobody_waits_for_is_lost(vrun, make):
    log = []

    def main():
        condition = make()
        yield notifying(condition)
        yield all_notified(condition)
        yield spawn(waiting(condition, log, "late", 5))

    vrun(main())
    assert log == [("late", False)]


def test_notify_all_lets_all_go_on_one_after_the_other(vrun, make, as_task):
    log, inside = [], []

    def waiter(condition, name):
        with (yield condition.acquire()):
            yield condition.wait()
            assert inside == []
            inside.append(name)
            yield sleep(1)
            log.append((name, now()))
            inside.clear()

    def main():
        condition = make()
        for name in range(4):
            yield spawn(as_task(waiter(condition, name)))
        yield sleep(1)
        yield all_notified(condition)

    vrun(main())
    assert log == [(0, 2), (1, 3), (2, 4), (3, 5)]


def test_the_notified_stand_behind_those_who_wait_for_the_lock_already(vrun, make):
    log = []

    def user(condition, name):
        with (yield condition.acquire()):
            log.append(name)

    def main():
        condition = make()
        yield waiters(condition, log, ["notified"])
        yield condition.acquire()
        yield spawn(user(condition, "before"))
        yield sleep(1)
        condition.notify()
        yield spawn(user(condition, "after"))
        yield sleep(1)
        condition.release()

    vrun(main())
    assert log == ["before", ("notified", True), "after"]


def test_notify_wakes_nobody_while_the_lock_is_held(vrun, make):
    log = []

    def main():
        condition = make()
        tasks = yield waiters(condition, log, "ab")
        yield condition.acquire()
        condition.notify_all()
        yield sleep(100)
        done = [task.done for task in tasks]
        condition.release()
        return done

    assert vrun(main()) == [False, False]
    assert log == [("a", True), ("b", True)]


def test_a_task_may_wait_again_after_it_was_notified(vrun, make):
    log = []

    def waiter(condition, name):
        with (yield condition.acquire()):
            for _ in range(3):
                yield condition.wait()
                log.append(name)

    def main():
        condition = make()
        for name in "ab":
            yield spawn(waiter(condition, name))
        yield sleep(1)
        for _ in range(6):
            yield notifying(condition)
            yield sleep(1)

    vrun(main())
    assert log == list("ababab")


def test_a_bounded_buffer_loses_and_doubles_nothing(vrun, make, as_task):
    got = []

    def producer(condition, buffer, number):
        for item in range(10):
            with (yield condition.acquire()):
                while len(buffer) >= 2:
                    yield condition.wait()
                buffer.append((number, item))
                condition.notify_all()

    def consumer(condition, buffer):
        for _ in range(10):
            with (yield condition.acquire()):
                while not buffer:
                    yield condition.wait()
                got.append(buffer.pop(0))
                condition.notify_all()

    def main():
        condition, buffer = make(), []
        for number in range(3):
            yield spawn(as_task(producer(condition, buffer, number)))
            yield spawn(as_task(consumer(condition, buffer)))

    vrun(main())
    assert sorted(got) == [(number, item) for number in range(3) for item in range(10)]


# ---- what needs the lock


@pytest.mark.parametrize("verb", ["wait", "wait_for", "notify", "notify_all"])
@pytest.mark.parametrize("held", ["by nobody", "by another"])
def test_what_needs_the_lock_is_a_runtime_error_without_it(vrun, make, verb, held):
    def holder(condition):
        with (yield condition.acquire()):
            yield sleep(10)

    def main():
        condition = make()
        if held == "by another":
            yield spawn(holder(condition), name="holder")
            yield sleep(1)
        with pytest.raises(RuntimeError, match="holder" if held == "by another" else "own"):
            if verb == "wait":
                yield condition.wait()
            elif verb == "wait_for":
                yield condition.wait_for(lambda: True)
            else:
                getattr(condition, verb)()
        yield

    vrun(main())


def test_a_wait_without_the_lock_fails_in_a_select_too(vrun, make):
    def main():
        with pytest.raises(RuntimeError):
            yield select(Event().wait(), make().wait())

    vrun(main())


def test_a_condition_is_its_lock(vrun):
    def main():
        lock = Lock()
        condition = Condition(lock)
        with (yield condition.acquire()):
            first = lock.locked(), lock.owner is current_task()
        with (yield lock.acquire()):
            condition.notify()
            second = condition.locked()
        return first, second, condition.locked()

    assert vrun(main()) == ((True, True), True, False)


def test_a_condition_has_a_lock_of_its_own_that_its_owner_can_take_again(vrun):
    def main():
        condition = Condition()
        with (yield condition.acquire()):
            with (yield condition.acquire()):
                pass
            return condition.locked()

    assert vrun(main()) is True


def test_a_condition_takes_the_same_limits_as_its_lock(vrun, make):
    def user(condition):
        return [
            (yield condition.acquire(False)),
            (yield condition.acquire(blocking=True, timeout=2)),
            now(),
        ]

    def main():
        condition = make()
        yield condition.acquire()
        result = yield (yield spawn(user(condition)))
        condition.release()
        return result

    assert vrun(main()) == [False, False, 2]


def test_a_plain_with_of_a_condition_is_a_type_error_that_says_what_to_write(make):
    with pytest.raises(TypeError, match="yield"):
        with make():
            pass


def test_an_async_with_of_a_condition_holds_its_lock(vrun, make):
    log = []

    async def waiter(condition):
        async with condition:
            log.append(await condition.wait())

    async def main():
        condition = make()
        await spawn(waiter(condition))
        await sleep(1)
        async with condition:
            condition.notify()
        await sleep(1)
        return condition.locked()

    assert vrun(main()) is False
    assert log == [True]


@pytest.mark.parametrize("lock", [1, "lock", object(), Event()])
def test_a_condition_needs_one_of_our_locks(lock):
    with pytest.raises(TypeError):
        Condition(lock)


# ---- timeouts


@pytest.mark.parametrize("seconds", [0, 0.5, 3])
def test_a_wait_whose_time_is_over_is_false_and_owns_the_lock(vrun, make, seconds, as_task):
    log = []

    def main():
        condition = make()
        yield (yield spawn(as_task(waiting(condition, log, "waiter", seconds))))
        return now(), condition.locked()

    assert vrun(main()) == (seconds, False)
    assert log == [("waiter", False)]


def test_a_wait_whose_time_is_over_waits_for_the_lock_before_it_returns(vrun, make):
    log = []

    def main():
        condition = make()
        yield spawn(waiting(condition, log, "waiter", 1))
        yield sleep(0.5)
        yield condition.acquire()
        yield sleep(5)
        log.append("release")
        condition.release()

    vrun(main())
    assert log == ["release", ("waiter", False)]


def test_a_notified_wait_is_true_though_its_time_ends_before_it_has_the_lock(vrun, make):
    log = []

    def main():
        condition = make()
        yield spawn(waiting(condition, log, "waiter", 2))
        yield sleep(1)
        yield condition.acquire()
        condition.notify()
        yield sleep(10)
        condition.release()

    vrun(main())
    assert log == [("waiter", True)]


def test_a_wait_that_has_timed_out_takes_no_notification(vrun, make):
    log = []

    def main():
        condition = make()
        yield spawn(waiting(condition, log, "impatient", 1.5))
        yield spawn(waiting(condition, log, "patient"))
        yield sleep(1)
        yield condition.acquire()
        yield sleep(1)
        condition.notify()
        condition.release()

    vrun(main())
    assert log == [("impatient", False), ("patient", True)]


def test_a_wait_without_time_lets_those_go_first_who_wait_for_the_lock(vrun, make):
    log = []

    def user(condition):
        with (yield condition.acquire()):
            log.append("user")

    def main():
        condition = make()
        yield condition.acquire()
        yield spawn(user(condition))
        yield sleep(1)
        log.append((yield condition.wait(0)))
        condition.release()

    vrun(main())
    assert log == ["user", False]


@pytest.mark.parametrize("seconds", [None, math.inf])
def test_a_wait_without_a_limit_waits_as_long_as_it_takes(vrun, make, seconds):
    log = []

    def main():
        condition = make()
        yield spawn(waiting(condition, log, "waiter", seconds))
        yield sleep(1_000_000)
        yield notifying(condition)

    vrun(main())
    assert log == [("waiter", True)]


@pytest.mark.parametrize("block", [timeout, move_on_after])
def test_a_block_whose_time_is_over_in_a_wait_owns_the_lock_afterwards(vrun, make, block):
    def main():
        condition = make()
        yield condition.acquire()
        try:
            with block(2):
                yield condition.wait()
        except TimeoutError:
            assert block is timeout
        ended = now()
        condition.notify()
        return ended, owned(condition), condition.locked()

    assert vrun(main()) == (2, True, False)


def test_a_timeout_block_ends_only_when_the_lock_is_back(vrun, make):
    def holder(condition):
        with (yield condition.acquire()):
            yield sleep(10)

    def main():
        condition = make()
        yield condition.acquire()
        yield spawn(holder(condition))
        with move_on_after(2) as scope:
            yield condition.wait()
        return scope.expired, now(), owned(condition)

    assert vrun(main()) == (True, 10, True)


@pytest.mark.parametrize(
    ("seconds", "error"), [(math.nan, ValueError), ("1", TypeError), ([], TypeError)]
)
@pytest.mark.parametrize("verb", ["wait", "wait_for"])
def test_what_is_no_time_is_refused(vrun, make, seconds, error, verb):
    def main():
        condition = make()
        yield condition.acquire()
        with pytest.raises(error):
            if verb == "wait":
                yield condition.wait(seconds)
            else:
                yield condition.wait_for(lambda: False, seconds)
        return owned(condition)

    assert vrun(main()) is True


def test_a_negative_time_is_over_at_once_as_in_threading(vrun, make):
    def main():
        condition = make()
        with (yield condition.acquire()):
            return (yield condition.wait(-1)), (yield condition.wait_for(lambda: 0, -1)), now()

    assert vrun(main()) == (False, 0, 0)


# ---- cancel


def test_a_cancelled_wait_owns_the_lock_when_it_raises(vrun, make, as_task):
    log = []

    def main():
        condition = make()
        task = yield spawn(as_task(waiting(condition, log, "waiter")))
        yield sleep(1)
        task.cancel()
        yield sleep(1)
        return condition.locked(), task.done

    assert vrun(main()) == (False, True)
    assert log == [("waiter", "cancelled")]


def test_a_cancelled_wait_raises_only_when_the_lock_is_free_again(vrun, make, as_task):
    log = []

    def main():
        condition = make()
        task = yield spawn(as_task(waiting(condition, log, "waiter")))
        yield sleep(1)
        yield condition.acquire()
        task.cancel()
        yield sleep(10)
        log.append("release")
        condition.release()
        yield sleep(1)
        return condition.locked()

    assert vrun(main()) is False
    assert log == ["release", ("waiter", "cancelled")]


def test_the_notification_of_a_cancelled_task_goes_to_the_next(vrun, make, as_task):
    """What trio and gevent lose: one is notified, and cancelled before it has the lock."""
    log = []

    def main():
        condition = make()
        first, _ = yield waiters(condition, log, ["first", "second"], as_task)
        yield condition.acquire()
        condition.notify()
        first.cancel()
        yield sleep(1)
        condition.release()

    vrun(main())
    assert log == [("first", "cancelled"), ("second", True)]


def test_cancelling_a_notified_task_does_not_release_the_lock_of_its_holder(vrun, make, as_task):
    """What curio does: the waiter that is cancelled releases what another owns."""
    log = []

    def main():
        condition = make()
        first, _ = yield waiters(condition, log, ["first", "second"], as_task)
        yield condition.acquire()
        condition.notify()
        yield sleep(1)
        first.cancel()
        for _ in range(5):
            yield
            assert condition.locked()
        assert (yield (yield spawn(tries(condition)))) is False
        return list(log), owned(condition)

    assert vrun(main()) == ([], True)
    assert log == [("first", "cancelled"), ("second", True)]


def tries(condition):
    return (yield condition.acquire(False))


def test_a_cancel_before_the_notification_leaves_it_to_the_next(vrun, make):
    log = []

    def main():
        condition = make()
        first, _ = yield waiters(condition, log, ["first", "second"])
        yield condition.acquire()
        first.cancel()
        condition.notify()
        condition.release()

    vrun(main())
    assert log == [("first", "cancelled"), ("second", True)]


def test_the_notification_of_a_chain_of_cancelled_tasks_reaches_the_last(vrun, make):
    log = []

    def main():
        condition = make()
        tasks = yield waiters(condition, log, range(5))
        yield condition.acquire()
        condition.notify()
        for task in tasks[:-1]:
            task.cancel()
            yield sleep(1)
        condition.release()

    vrun(main())
    assert sorted(log) == sorted([(name, "cancelled") for name in range(4)] + [(4, True)], key=str)


def test_as_many_notifications_are_passed_on_as_were_consumed(vrun, make):
    log = []

    def main():
        condition = make()
        tasks = yield waiters(condition, log, range(6))
        yield condition.acquire()
        condition.notify(2)
        for task in tasks[:2]:
            task.cancel()
        condition.release()
        yield sleep(1)
        gone_on = sorted(name for name, result in log if result is True)
        yield all_notified(condition)
        return gone_on

    assert vrun(main()) == [2, 3]
    assert len(log) == 6


def test_a_cancelled_task_that_nobody_follows_leaves_no_notification_behind(vrun, make):
    log = []

    def main():
        condition = make()
        (task,) = yield waiters(condition, log, ["first"])
        yield condition.acquire()
        condition.notify()
        task.cancel()
        condition.release()
        yield sleep(1)
        yield spawn(waiting(condition, log, "late", 5))

    vrun(main())
    assert log == [("first", "cancelled"), ("late", False)]


def test_a_cancel_that_comes_after_the_lock_is_raised_at_the_next_yield(vrun, make, as_task):
    log = []

    def waiter(condition):
        yield condition.acquire()
        log.append((yield condition.wait()))
        try:
            yield
        except Cancelled:
            log.append(("cancelled", owned(condition)))
            raise

    def main():
        condition = make()
        task = yield spawn(as_task(waiter(condition)))
        yield sleep(1)
        yield condition.acquire()
        condition.notify()
        condition.release()
        task.cancel()

    vrun(main())
    assert log == [True, ("cancelled", True)]


def test_a_wait_cancelled_twice_gets_the_lock_back_once(vrun, make):
    log = []

    def main():
        condition = make()
        task = yield spawn(waiting(condition, log, "waiter"))
        yield sleep(1)
        yield condition.acquire()
        task.cancel("once")
        task.cancel("twice")
        yield sleep(1)
        task.cancel("thrice")
        condition.release()
        yield sleep(1)
        return condition.locked()

    assert vrun(main()) is False
    assert log == [("waiter", "cancelled")]


def test_a_cancel_while_a_timed_out_wait_waits_for_the_lock_is_raised_with_the_lock(vrun, make):
    log = []

    def main():
        condition = make()
        task = yield spawn(waiting(condition, log, "waiter", 1.5))
        yield sleep(1)
        yield condition.acquire()
        yield sleep(1)
        task.cancel()
        yield sleep(1)
        assert log == []
        condition.release()
        yield sleep(1)
        return condition.locked()

    assert vrun(main()) is False
    assert log == [("waiter", "cancelled")]


def test_a_task_cancelled_before_its_wait_gives_nothing_up(vrun, make):
    log = []

    def waiter(condition):
        yield condition.acquire()
        current_task().cancel()
        try:
            yield condition.wait()
        finally:
            log.append(owned(condition))

    def main():
        task = yield spawn(waiter(make()))
        with pytest.raises(Cancelled):
            yield task

    vrun(main())
    assert log == [True]


def test_a_run_that_ends_gives_daemons_the_lock_back_before_they_end(vrun, make):
    log = []
    condition = make()

    def main():
        for name in "abc":
            yield spawn(waiting(condition, log, name), daemon=True)
        yield sleep(1)

    vrun(main())
    assert log == [(name, "cancelled") for name in "abc"]
    assert not condition.locked()


# ---- wait_for


@pytest.mark.parametrize("value", [True, 1, "yes", ["item"]])
def test_wait_for_returns_what_the_predicate_returned(vrun, make, value, as_task):
    def waiter(condition, box):
        with (yield condition.acquire()):
            return (yield condition.wait_for(lambda: box[0]))

    def main():
        condition, box = make(), [None]
        task = yield spawn(as_task(waiter(condition, box)))
        yield sleep(1)
        box[0] = value
        yield notifying(condition)
        return (yield task)

    assert vrun(main()) is value


def test_a_predicate_that_holds_at_once_keeps_the_lock(vrun, make):
    log = []

    def other(condition):
        with (yield condition.acquire()):
            log.append("other")

    def main():
        condition = make()
        yield condition.acquire()
        yield spawn(other(condition))
        yield
        log.append((yield condition.wait_for(lambda: "held")))
        condition.release()

    vrun(main())
    assert log == ["held", "other"]


def test_wait_for_goes_on_only_when_its_predicate_holds(vrun, make, as_task):
    log = []

    def waiter(condition, box):
        with (yield condition.acquire()):
            yield condition.wait_for(lambda: box[0] >= 3)
            log.append(box[0])

    def main():
        condition, box = make(), [0]
        yield spawn(as_task(waiter(condition, box)))
        yield sleep(1)
        for _ in range(5):
            with (yield condition.acquire()):
                box[0] += 1
                condition.notify_all()
            yield sleep(1)

    vrun(main())
    assert log == [3]


def test_the_predicate_is_evaluated_at_once_and_once_for_each_notification(vrun, make):
    calls = []

    def waiter(condition):
        with (yield condition.acquire()):
            yield condition.wait_for(lambda: calls.append(now()) or len(calls) == 4)

    def main():
        condition = make()
        yield spawn(waiter(condition))
        for _ in range(3):
            yield sleep(1)
            yield notifying(condition)

    vrun(main())
    assert calls == [0, 1, 2, 3]


def test_the_predicate_is_evaluated_with_the_lock_held_by_the_task_that_waits(vrun):
    owners = []

    def main():
        lock = Lock()
        condition = Condition(lock)

        def waiter():
            with (yield condition.acquire()):
                yield condition.wait_for(lambda: owners.append(lock.owner) or len(owners) == 2)

        task = yield spawn(waiter())
        yield sleep(1)
        yield notifying(condition)
        yield task
        return task

    task = vrun(main())
    assert owners == [task, task]


def test_a_false_predicate_hands_the_lock_to_the_next_and_nobody_is_lost(vrun, make):
    log = []

    def choosy(condition, box, name):
        with (yield condition.acquire()):
            yield condition.wait_for(lambda: box[0] == name)
            log.append(name)

    def user(condition, name):
        with (yield condition.acquire()):
            log.append(name)

    def main():
        condition, box = make(), [None]
        for name in "abc":
            yield spawn(choosy(condition, box, name))
        yield sleep(1)
        yield condition.acquire()
        box[0] = "b"
        condition.notify_all()
        yield spawn(user(condition, "user"))
        yield sleep(1)
        condition.release()
        yield sleep(1)
        assert not condition.locked()
        for name in "ca":
            with (yield condition.acquire()):
                box[0] = name
                condition.notify_all()
            yield sleep(1)

    vrun(main())
    assert log == ["b", "user", "c", "a"]


def test_many_false_predicates_do_not_recurse(vrun, make):
    log = []

    def choosy(condition):
        with (yield condition.acquire()):
            log.append((yield condition.wait_for(lambda: False, 5)))

    def main():
        condition = make()
        for _ in range(5000):
            yield spawn(choosy(condition))
        yield sleep(1)
        yield all_notified(condition)
        yield sleep(1)
        return condition.locked()

    assert vrun(main(), observers=()) is False
    assert log == [False] * 5000


@pytest.mark.parametrize("when", [1, 2])
def test_what_the_predicate_raises_is_raised_at_the_yield_with_the_lock_held(
    vrun, make, when, as_task
):
    log, calls = [], []

    def predicate():
        calls.append(1)
        if len(calls) == when:
            raise ZeroDivisionError("on purpose")

    def waiter(condition):
        yield condition.acquire()
        try:
            yield condition.wait_for(predicate)
        except ZeroDivisionError:
            log.append(owned(condition))

    def main():
        condition = make()
        task = yield spawn(as_task(waiter(condition)))
        yield sleep(1)
        yield notifying(condition)
        yield task
        return condition.locked()

    assert vrun(main()) is False
    assert log == [True]


def test_a_predicate_that_raises_in_the_hand_over_hurts_only_its_own_task(vrun, make):
    log = []

    def broken(condition, box):
        with (yield condition.acquire()):
            yield condition.wait_for(lambda: 1 / box[0] < 0)

    def main():
        condition, box = make(), [1]
        task = yield spawn(broken(condition, box))
        yield waiters(condition, log, ["other"])
        with (yield condition.acquire()):
            box[0] = 0
            condition.notify_all()
        with pytest.raises(ZeroDivisionError):
            yield task
        return condition.locked()

    assert vrun(main()) is False
    assert log == [("other", True)]


def test_wait_for_has_one_time_limit_for_all_its_waiting(vrun, make):
    def waiter(condition):
        with (yield condition.acquire()):
            return (yield condition.wait_for(lambda: 0, 5)), now()

    def main():
        condition = make()
        task = yield spawn(waiter(condition))
        for _ in range(8):
            yield sleep(1)
            yield notifying(condition)
        return (yield task)

    assert vrun(main()) == (0, 5)


def test_a_predicate_that_became_true_unnoticed_counts_when_the_time_is_over(vrun, make):
    def waiter(condition, box):
        with (yield condition.acquire()):
            return (yield condition.wait_for(lambda: box[0], 5)), now()

    def main():
        condition, box = make(), [None]
        task = yield spawn(waiter(condition, box))
        yield sleep(1)
        box[0] = "unnoticed"
        return (yield task)

    assert vrun(main()) == ("unnoticed", 5)


def test_a_cancelled_wait_for_passes_its_notification_on(vrun, make):
    log = []

    def choosy(condition, name):
        with (yield condition.acquire()):
            try:
                log.append((name, (yield condition.wait_for(lambda: log.append(name) or ready))))
            except Cancelled:
                log.append((name, "cancelled"))
                raise

    ready = []

    def main():
        condition = make()
        task = yield spawn(choosy(condition, "first"))
        yield spawn(choosy(condition, "second"))
        yield sleep(1)
        log.clear()
        yield condition.acquire()
        ready.append("ready")
        condition.notify()
        task.cancel()
        condition.release()

    vrun(main())
    assert ("first", "cancelled") in log
    assert ("second", ready) in log


def test_a_false_predicate_uses_its_notification_up_as_in_threading(vrun, make):
    log = []

    def choosy(condition):
        with (yield condition.acquire()):
            log.append(("choosy", (yield condition.wait_for(lambda: False, 10))))

    def main():
        condition = make()
        yield spawn(choosy(condition))
        yield sleep(1)
        yield spawn(waiting(condition, log, "other", 5))
        yield sleep(1)
        yield notifying(condition)

    vrun(main())
    assert log == [("other", False), ("choosy", False)]


def test_a_wait_for_that_loses_a_select_while_notified_passes_the_notification_on(vrun, make):
    log = []

    def main():
        condition, event = make(), Event()
        yield spawn(selecting(log, condition, condition.wait_for(lambda: False), event.wait()))
        yield sleep(1)
        yield spawn(waiting(condition, log, "other", 50))
        yield sleep(1)
        yield condition.acquire()
        condition.notify()
        event.set()
        yield sleep(1)
        condition.release()

    vrun(main())
    assert log == [(1, True, True), ("other", True)]


@pytest.mark.parametrize("predicate", [None, 1, "x"])
def test_a_predicate_that_cannot_be_called_is_a_type_error(vrun, make, predicate):
    def main():
        condition = make()
        yield condition.acquire()
        with pytest.raises(TypeError):
            yield condition.wait_for(predicate)
        return owned(condition)

    assert vrun(main()) is True


# ---- RLock depth


@pytest.mark.parametrize("how", ["notify", "timeout", "cancel", "select", "predicate"])
def test_the_depth_of_an_rlock_is_saved_and_restored_over_a_wait(vrun, how):
    log = []

    def waiter(lock, condition, event):
        for _ in range(3):
            yield lock.acquire()
        try:
            if how == "timeout":
                yield condition.wait(3)
            elif how == "select":
                yield select(condition.wait(), event.wait())
            elif how == "predicate":
                yield condition.wait_for(lambda: len(log) > 3)
            else:
                yield condition.wait()
        finally:
            log.append(("waiter", lock.depth))
            for _ in range(3):
                lock.release()

    def main():
        lock, event = RLock(), Event()
        condition = Condition(lock)
        task = yield spawn(waiter(lock, condition, event))
        yield sleep(1)
        for _ in range(2):
            yield lock.acquire()
        log.append(("main", lock.depth))
        if how in ("notify", "predicate"):
            condition.notify()
        if how == "predicate":
            log.extend([1, 2, 3])
        if how == "cancel":
            task.cancel()
        if how == "select":
            event.set()
        yield sleep(5)
        log.append(("main", lock.depth))
        for _ in range(2):
            lock.release()
        yield sleep(1)
        return lock.locked()

    assert vrun(main()) is False
    log = [entry for entry in log if isinstance(entry, tuple)]
    assert log == [("main", 2), ("main", 2), ("waiter", 3)]


def test_an_rlock_that_nobody_owns_has_no_depth_while_its_last_owner_waits(vrun):
    def main():
        lock = RLock()
        condition = Condition(lock)
        task = yield spawn(waiting(condition, [], "x"))
        yield sleep(1)
        depth = lock.owner, lock.depth
        task.cancel()
        return depth

    assert vrun(main()) == (None, 0)


def test_a_false_predicate_keeps_the_depth_for_later(vrun):
    log = []

    def waiter(lock, condition, box):
        with (yield lock.acquire()):
            with (yield lock.acquire()):
                yield condition.wait_for(lambda: box[0])
                log.append(lock.depth)
            log.append(lock.depth)

    def main():
        lock, box = RLock(), [False]
        condition = Condition(lock)
        yield spawn(waiter(lock, condition, box))
        yield sleep(1)
        yield notifying(condition)
        yield sleep(1)
        assert not lock.locked()
        box[0] = True
        yield notifying(condition)

    vrun(main())
    assert log == [2, 1]


# ---- select


def selecting(log, condition, *calls):
    """Hold the lock, select, log the index, the value, and whether the lock is owned."""
    yield condition.acquire()
    index, value = yield select(*calls)
    log.append((index, value, owned(condition)))


def test_a_wait_that_wins_a_select_owns_the_lock(vrun, make, as_task):
    log = []

    def main():
        condition = make()
        yield spawn(as_task(selecting(log, condition, condition.wait(), Event().wait())))
        yield sleep(1)
        yield notifying(condition)
        yield sleep(1)
        return condition.locked()

    assert vrun(main()) is False
    assert log == [(0, True, True)]


def test_a_wait_that_loses_a_select_owns_the_lock_again(vrun, make, as_task):
    log = []

    def main():
        condition, channel = make(), Channel()
        yield spawn(as_task(selecting(log, condition, condition.wait(), channel.recv())))
        yield sleep(1)
        free = condition.locked()
        yield channel.send("value")
        yield sleep(1)
        return free, condition.locked()

    assert vrun(main()) == (False, False)
    assert log == [(1, "value", True)]


def test_a_wait_that_loses_a_select_waits_for_the_lock_first(vrun, make):
    log = []

    def main():
        condition, event = make(), Event()
        yield spawn(selecting(log, condition, event.wait(), condition.wait()))
        yield sleep(1)
        yield condition.acquire()
        event.set()
        yield sleep(10)
        log.append("release")
        condition.release()

    vrun(main())
    assert log == ["release", (0, True, True)]


def test_a_wait_behind_a_branch_that_goes_at_once_never_gives_the_lock_up(vrun, make):
    log = []

    def user(condition):
        with (yield condition.acquire()):
            log.append("user")

    def main():
        condition, event = make(), Event()
        event.set()
        yield condition.acquire()
        yield spawn(user(condition))
        yield sleep(1)
        for calls in [(event.wait(), condition.wait()), (condition.wait(), event.wait())]:
            log.append((yield select(*calls)))
        condition.release()

    vrun(main())
    assert log == [(0, True), (1, True), "user"]


def test_the_notification_of_a_wait_that_loses_goes_to_the_next(vrun, make):
    log = []

    def main():
        condition, event = make(), Event()
        yield spawn(selecting(log, condition, condition.wait(), event.wait()))
        yield sleep(1)
        yield waiters(condition, log, ["next"])
        yield condition.acquire()
        condition.notify()
        event.set()
        condition.release()

    vrun(main())
    assert log == [(1, True, True), ("next", True)]


def test_two_conditions_of_one_lock_can_stand_in_one_select(vrun, as_task):
    log = []

    def main():
        lock = RLock()
        first, second = Condition(lock), Condition(lock)
        for condition in (second, first):
            yield spawn(as_task(selecting(log, first, first.wait(), second.wait())))
            yield sleep(1)
            assert not lock.locked()
            yield notifying(condition)
            yield sleep(1)
        return lock.locked()

    assert vrun(main()) is False
    assert log == [(1, True, True), (0, True, True)]


def test_of_two_conditions_notified_at_once_a_select_takes_one_notification(vrun):
    log = []

    def main():
        lock = Lock()
        first, second = Condition(lock), Condition(lock)
        yield spawn(selecting(log, first, first.wait(), second.wait()))
        yield sleep(1)
        yield waiters(first, log, ["on the first"])
        yield waiters(second, log, ["on the second"])
        yield lock.acquire()
        first.notify()
        second.notify()
        lock.release()
        yield sleep(1)
        seen = list(log)
        yield all_notified(first)
        yield all_notified(second)
        return seen, lock.locked()

    seen, locked = vrun(main())
    assert not locked
    assert seen == [(0, True, True), ("on the second", True)]


def test_a_wait_that_loses_to_an_acquire_of_its_own_rlock_gives_nothing_up(vrun):
    def main():
        lock = RLock()
        yield lock.acquire()
        index, _ = yield select(Condition(lock).wait(), lock.acquire())
        depth = lock.depth
        lock.release()
        lock.release()
        return index, depth, lock.locked()

    assert vrun(main()) == (1, 2, False)


def test_two_conditions_of_two_locks_in_one_select_give_both_locks_back(vrun):
    log = []

    def chooser(first, second):
        yield first.acquire()
        yield second.acquire()
        index, _ = yield select(first.wait(), second.wait())
        log.append((index, owned(first), owned(second)))

    def main():
        first, second = Condition(Lock()), Condition(Lock())
        yield spawn(chooser(first, second))
        yield sleep(1)
        assert not first.locked()
        assert not second.locked()
        yield notifying(second)

    vrun(main())
    assert log == [(1, True, True)]


def test_a_timed_wait_in_a_select_is_false_when_its_time_is_over(vrun, make):
    log = []

    def main():
        condition = make()
        yield (yield spawn(selecting(log, condition, condition.wait(3), Event().wait())))
        return now()

    assert vrun(main()) == 3
    assert log == [(0, False, True)]


def test_a_cancelled_select_of_a_wait_owns_the_lock_when_it_raises(vrun, make):
    log = []

    def chooser(condition):
        yield condition.acquire()
        try:
            yield select(Event().wait(), condition.wait())
        finally:
            log.append(owned(condition))

    def main():
        condition = make()
        task = yield spawn(chooser(condition))
        yield sleep(1)
        yield condition.acquire()
        task.cancel()
        yield sleep(1)
        assert log == []
        condition.release()
        yield sleep(1)
        return condition.locked()

    assert vrun(main()) is False
    assert log == [True]


@pytest.mark.forgets
def test_a_value_that_was_received_survives_a_cancel_while_the_lock_comes_back(vrun, make):
    log = []

    def chooser(condition, channel):
        yield condition.acquire()
        try:
            log.append((yield select(condition.wait(), channel.recv())))
            yield
        except Cancelled:
            log.append("cancelled")
            raise
        finally:
            log.append(owned(condition))

    def main():
        condition, channel = make(), Channel()
        task = yield spawn(chooser(condition, channel))
        yield sleep(1)
        yield condition.acquire()
        sent = channel.try_send("value")
        task.cancel()
        yield sleep(1)
        condition.release()
        return sent

    assert vrun(main()) is True
    assert log == [(1, "value"), "cancelled", True]


def test_a_nested_select_of_a_wait_owns_the_lock_again(vrun, make):
    log = []

    def main():
        condition, event = make(), Event()
        inner = select(Event().wait(), condition.wait())
        yield spawn(selecting(log, condition, inner, event.wait()))
        yield sleep(1)
        event.set()
        yield sleep(1)
        again = select(Event().wait(), condition.wait())
        yield spawn(selecting(log, condition, again, Event().wait()))
        yield sleep(1)
        yield notifying(condition)

    vrun(main())
    assert log == [(1, True, True), (0, (1, True), True)]


# ---- broken locks


@pytest.mark.parametrize("state", ["waits", "notified", "cancelled", "timed out", "in a select"])
def test_a_wait_whose_lock_breaks_raises_broken_lock_error_unless_it_was_cancelled_before(
    vrun, caplog, make, state
):
    log = []

    def waiter(condition):
        try:
            with (yield condition.acquire()):
                if state == "timed out":
                    yield condition.wait(1.5)
                elif state == "in a select":
                    yield select(Event().wait(), condition.wait())
                else:
                    yield condition.wait()
        except (BrokenLockError, Cancelled) as error:
            log.append(type(error).__name__)

    def breaker(condition):
        yield condition.acquire()
        if state == "notified":
            condition.notify()
        if state == "cancelled":
            task.cancel()
        yield sleep(1)

    def main():
        nonlocal task
        condition = make()
        task = yield spawn(waiter(condition))
        yield sleep(1)
        yield (yield spawn(breaker(condition)))
        yield sleep(1)
        return now()

    task = None
    assert vrun(main()) == 3
    assert log == ["Cancelled" if state == "cancelled" else "BrokenLockError"]


def test_a_value_that_a_select_received_survives_that_the_lock_breaks(vrun, caplog, make):
    log = []

    def chooser(condition, channel):
        with (yield condition.acquire()):
            log.append((yield select(condition.wait(), channel.recv())))

    def breaker(condition):
        yield condition.acquire()
        yield sleep(1)

    def main():
        condition, channel = make(), Channel()
        task = yield spawn(chooser(condition, channel))
        yield sleep(1)
        yield spawn(breaker(condition))
        yield sleep(0.5)
        assert channel.try_send("value")
        yield task

    vrun(main())
    assert log == [(1, "value")]


@pytest.mark.parametrize("notified", [False, True])
@pytest.mark.parametrize("kind", ["acquire", "wait", "wait_for", "select"])
def test_the_time_limit_of_a_wait_whose_lock_broke_does_nothing_when_it_comes(
    vrun, caplog, make, kind, notified
):
    log = []

    def waiter(condition):
        try:
            if kind == "acquire":
                yield condition.acquire(timeout=5)
            yield condition.acquire()
            if kind == "wait":
                yield condition.wait(5)
            elif kind == "wait_for":
                yield condition.wait_for(lambda: False, 5)
            elif kind == "select":
                yield select(Event().wait(), condition.wait(5))
        except BrokenLockError:
            log.append("broken")

    def breaker(condition):
        yield condition.acquire()
        yield sleep(1)
        if notified:
            condition.notify()

    def main():
        condition = make()
        if kind == "acquire":
            yield spawn(breaker(condition))
        yield spawn(waiter(condition))
        if kind != "acquire":
            yield spawn(breaker(condition))
        yield sleep(10)
        return now()

    assert vrun(main()) == 10
    assert log == ["broken"]


def test_a_notification_that_is_passed_on_reaches_a_select_as_it_reaches_a_wait(vrun, make):
    """The lock is given up for all branches of a select at once, not for the first alone."""
    log = []

    def main():
        lock = Lock()
        first, second = Condition(lock), Condition(lock)
        for calls in [(second.wait(20),), (first.wait(), second.wait(), sleep(20))]:
            yield spawn(selecting(log, first, first.wait(), second.wait()))
            yield sleep(1)
            # It has two notifications, and passes one on when it has the lock.
            yield lock.acquire()
            first.notify()
            second.notify()
            log.append((yield select(*calls)))
            lock.release()

    vrun(main())
    assert log == [(0, True, True), (0, True), (0, True, True), (1, True)]


def test_a_wait_on_a_broken_lock_is_refused(vrun, caplog, make):
    def breaker(condition):
        yield condition.acquire()

    def main():
        condition = make()
        yield (yield spawn(breaker(condition)))
        with pytest.raises(BrokenLockError):
            yield condition.acquire()
        with pytest.raises((BrokenLockError, RuntimeError)):
            yield condition.wait()
        with pytest.raises((BrokenLockError, RuntimeError)):
            condition.notify()

    vrun(main())


# ---- reports, and the call itself


def test_a_deadlock_report_names_the_condition_that_nobody_notifies(vrun):
    def main():
        condition = Condition(name="not empty")
        yield spawn(waiting(condition, [], "x"), name="consumer")
        yield (yield spawn(waiting(condition, [], "y"), name="other consumer"))

    with pytest.raises(DeadlockError) as caught:
        vrun(main())
    text = str(caught.value)
    assert "not empty" in text
    assert "consumer" in text


def test_a_notified_task_that_waits_for_the_lock_shows_its_owner(vrun):
    def main():
        condition = Condition(Lock(name="ledger"), name="not empty")
        task = yield spawn(waiting(condition, [], "x"))
        yield sleep(1)
        before = str(task.waiting_on)
        yield condition.acquire()
        condition.notify()
        yield sleep(1)
        after = str(task.waiting_on)
        condition.release()
        return before, after

    before, after = vrun(main())
    assert "not empty" in before
    assert "main" in after


@pytest.mark.forgets
@pytest.mark.parametrize("seconds", [None, 3])
def test_a_wait_has_a_repr_before_it_is_made(make, seconds):
    condition = make(name="not empty")
    for call in [condition.wait(seconds), condition.wait_for(bool, seconds)]:
        assert "not empty" in str(call)
        assert "not empty" in repr(call)


def test_one_wait_can_be_made_again_and_again(vrun, make):
    log = []

    def waiter(condition):
        call = condition.wait(5)
        with (yield condition.acquire()):
            for _ in range(4):
                log.append((yield call))

    def main():
        condition = make()
        yield spawn(waiter(condition))
        for _ in range(2):
            yield sleep(1)
            yield notifying(condition)

    vrun(main())
    assert log == [True, True, False, False]


@pytest.mark.forgets
def test_making_a_wait_does_nothing_until_it_is_yielded(vrun, make):
    def main():
        condition = make()
        yield condition.acquire()
        condition.wait()
        condition.wait_for(lambda: 1 / 0)
        yield
        return owned(condition)

    assert vrun(main()) is True


def test_a_condition_shows_its_name_and_is_true(make):
    condition = make(name="not empty")
    assert "not empty" in repr(condition)
    assert "not empty" in str(condition)
    assert "Condition" in repr(condition)
    assert condition


@pytest.mark.parametrize("n", ["1", None])
def test_a_number_to_notify_that_is_no_number_wakes_nobody(vrun, make, n):
    log = []

    def main():
        condition = make()
        yield waiters(condition, log, "ab")
        with (yield condition.acquire()):
            with pytest.raises(TypeError):
                condition.notify(n)
        yield sleep(1)
        seen = list(log)
        yield all_notified(condition)
        return seen

    assert vrun(main()) == []


@pytest.mark.parametrize("n", [0, -1])
def test_notifying_less_than_one_wakes_nobody(vrun, make, n):
    log = []

    def main():
        condition = make()
        yield waiters(condition, log, "ab")
        with (yield condition.acquire()):
            try:
                condition.notify(n)
            except ValueError:
                pass
        yield sleep(1)
        seen = list(log)
        yield all_notified(condition)
        return seen

    assert vrun(main()) == []


def test_a_condition_goes_on_from_one_run_to_the_next(vrun, make):
    condition, log = make(), []

    def main(name):
        yield waiters(condition, log, [name])
        yield notifying(condition)

    vrun(main(1))
    vrun(main(2))
    assert log == [(1, True), (2, True)]


def test_joining_a_task_that_waits_for_a_condition_is_shown_until_it_is_notified(vrun, make):
    log = []

    def main():
        condition = make()
        (task,) = yield waiters(condition, log, ["x"])
        helper = yield spawn(notifying(condition))
        yield join(task)
        return helper.done

    assert vrun(main()) is True


# ---- cost


def seconds_to_notify_all(n):
    """Processor time of notifying `n` tasks, and of handing the lock through all."""

    def user(condition):
        yield condition.acquire()
        yield condition.wait()
        condition.release()

    def main():
        condition = Condition()
        for _ in range(n):
            yield spawn(user(condition))
        yield sleep(1)
        yield condition.acquire()
        with ProcessorTime() as took:
            condition.notify_all()
            condition.release()
            # The last in the queue: when it is main's again, all have had it.
            yield condition.acquire()
        condition.release()
        return took.seconds

    return vrun(main())


def test_ten_times_the_waiters_of_a_condition_cost_about_ten_times_as_much(unobserved):
    assert_ten_times_as_many_cost_about_ten_times_as_much(seconds_to_notify_all)
