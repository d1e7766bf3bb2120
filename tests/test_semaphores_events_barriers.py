"""Semaphores, events and barriers: who goes on, in what order, and what a cancel leaves behind."""

from __future__ import annotations

import math
import threading

import pytest
from helpers import ProcessorTime, assert_ten_times_as_many_cost_about_ten_times_as_much, vrun

from microthreads import (
    Barrier,
    BoundedSemaphore,
    BrokenBarrierError,
    Cancelled,
    Channel,
    DeadlockError,
    Event,
    Kernel,
    Semaphore,
    move_on_after,
    now,
    select,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

SEMAPHORES = pytest.mark.parametrize("make", [Semaphore, BoundedSemaphore])


def outcome_of(call, log, name):
    """Make `call`, and log what comes of it."""
    try:
        value = yield call
    except Cancelled:
        log.append((name, "cancelled"))
        raise
    except (BrokenBarrierError, RuntimeError) as error:
        log.append((name, type(error).__name__))
    else:
        log.append((name, value if isinstance(value, (bool, int, tuple)) else "permit"))


def started(calls, log, as_task=lambda routine: routine):
    """Start a task for each of `calls`; all wait when this returns."""
    tasks = []
    for name, call in calls:
        tasks.append((yield spawn(as_task(outcome_of(call, log, name)), name=str(name))))
    yield sleep(1)
    return tasks


def free_permits(semaphore):
    """How many permits are free, found by taking them all."""
    count = 0
    while (yield semaphore.acquire(False)):
        count += 1
    if count:
        semaphore.release(count)
    return count


# ---- semaphores


@SEMAPHORES
@pytest.mark.parametrize("value", [0, 1, 3])
def test_as_many_tasks_as_there_are_permits_go_on_at_once(vrun, make, value):
    log = []

    def main():
        semaphore = make(value)
        tasks = yield started([(name, semaphore.acquire()) for name in range(5)], log)
        for task in tasks:
            task.cancel()

    vrun(main())
    assert log[:value] == [(name, "permit") for name in range(value)]
    assert log[value:] == [(name, "cancelled") for name in range(value, 5)]


def test_there_is_one_permit_unless_said_otherwise(vrun):
    def main():
        return (yield free_permits(Semaphore())), (yield free_permits(BoundedSemaphore()))

    assert vrun(main()) == (1, 1)


@SEMAPHORES
def test_no_more_tasks_are_inside_than_there_are_permits(vrun, make, as_task):
    inside, most = [], []

    def worker(semaphore, name):
        for _ in range(3):
            with (yield semaphore.acquire()):
                inside.append(name)
                most.append(len(inside))
                yield sleep(name % 3)
                inside.remove(name)

    def main():
        semaphore = make(3)
        for name in range(10):
            yield spawn(as_task(worker(semaphore, name)))

    vrun(main())
    assert max(most) == 3


def test_a_released_permit_goes_to_the_first_that_waits(vrun, as_task):
    log = []

    def main():
        semaphore = Semaphore(0)
        yield started([(name, semaphore.acquire()) for name in range(5)], log, as_task)
        for number in range(5):
            semaphore.release()
            yield sleep(1)
            log.append(number)

    vrun(main())
    assert log == [entry for n in range(5) for entry in ((n, "permit"), n)]


@SEMAPHORES
def test_a_task_that_releases_and_acquires_at_once_goes_behind_those_that_wait_for_permits(
    vrun, make
):
    log = []

    def greedy(semaphore, name):
        for _ in range(3):
            yield semaphore.acquire()
            log.append(name)
            semaphore.release()

    def main():
        semaphore = make(1)
        yield semaphore.acquire()
        for name in "abc":
            yield spawn(greedy(semaphore, name))
        yield sleep(1)
        semaphore.release()

    vrun(main())
    assert log == list("abc" * 3)


def test_a_newcomer_does_not_take_a_permit_that_was_given_to_another(vrun):
    log = []

    def main():
        semaphore = Semaphore(0)
        yield started([("waiting", semaphore.acquire())], log)
        semaphore.release()
        log.append((yield semaphore.acquire(blocking=False)))

    vrun(main())
    assert sorted(log, key=str) == [("waiting", "permit"), False]


@pytest.mark.parametrize(("n", "gone_on", "left"), [(1, 1, 0), (3, 3, 0), (5, 3, 2)])
def test_several_permits_given_at_once_go_to_those_who_wait_and_the_rest_is_kept(
    vrun, n, gone_on, left
):
    log = []

    def main():
        semaphore = Semaphore(0)
        tasks = yield started([(name, semaphore.acquire()) for name in range(3)], log)
        semaphore.release(n)
        yield sleep(1)
        count = len(log)
        free = yield free_permits(semaphore)
        for task in tasks:
            task.cancel()
        return count, free

    assert vrun(main()) == (gone_on, left)


@pytest.mark.parametrize("flavour", ["with", "async with"])
@SEMAPHORES
def test_a_block_gives_its_permit_back_however_it_ends(vrun, make, flavour):
    def in_generator(semaphore):
        with (yield semaphore.acquire()):
            raise ValueError("on purpose")

    async def in_coroutine(semaphore):
        async with semaphore:
            raise ValueError("on purpose")

    def main():
        semaphore = make(2)
        routine = in_generator if flavour == "with" else in_coroutine
        with pytest.raises(ValueError):
            yield (yield spawn(routine(semaphore)))
        return (yield free_permits(semaphore))

    assert vrun(main()) == 2


@SEMAPHORES
def test_a_plain_with_of_a_semaphore_is_a_type_error_that_says_what_to_write(make):
    with pytest.raises(TypeError, match="yield .*acquire.*async with"):
        with make():
            pass


@SEMAPHORES
def test_a_with_of_a_semaphore_whose_yield_was_forgotten_takes_nothing(vrun, make):
    def main():
        semaphore = make(1)
        with pytest.raises(TypeError):
            with semaphore.acquire():
                pass
        return (yield free_permits(semaphore))

    assert vrun(main()) == 1


@SEMAPHORES
@pytest.mark.parametrize("seconds", [0, 2])
def test_a_timed_acquire_of_a_permit_is_false_when_its_time_is_over(vrun, make, seconds):
    def main():
        semaphore = make(1)
        yield semaphore.acquire()
        result = yield semaphore.acquire(timeout=seconds)
        semaphore.release()
        return result, now(), (yield free_permits(semaphore))

    assert vrun(main()) == (False, seconds, 1)


@SEMAPHORES
def test_an_acquire_of_a_permit_that_does_not_block_says_whether_it_took_one(vrun, make):
    def main():
        semaphore = make(1)
        return bool((yield semaphore.acquire(False))), (yield semaphore.acquire(False)), now()

    assert vrun(main()) == (True, False, 0)


@SEMAPHORES
def test_a_timed_out_or_cancelled_acquire_leaves_its_permit_to_the_next(vrun, make):
    log = []

    def main():
        semaphore = make(1)
        yield semaphore.acquire()
        calls = [("timed", semaphore.acquire(timeout=0.5)), ("cancelled", semaphore.acquire())]
        _, task, _ = yield started([*calls, ("patient", semaphore.acquire())], log)
        task.cancel()
        semaphore.release()
        yield sleep(1)
        semaphore.release()
        return (yield free_permits(semaphore))

    assert vrun(main()) == 1
    assert log == [("timed", False), ("cancelled", "cancelled"), ("patient", "permit")]


@SEMAPHORES
def test_a_cancel_that_comes_after_the_permit_leaves_the_permit_taken(vrun, make, as_task):
    log = []

    def user(semaphore):
        with (yield semaphore.acquire()):
            log.append("permit")
            yield

    def main():
        semaphore = make(1)
        yield semaphore.acquire()
        task = yield spawn(as_task(user(semaphore)))
        yield sleep(1)
        semaphore.release()
        task.cancel()
        with pytest.raises(Cancelled):
            yield task
        return (yield free_permits(semaphore))

    assert vrun(main()) == 1
    assert log == ["permit"]


def test_any_task_may_release_a_permit_and_so_may_no_task(vrun):
    semaphore = Semaphore(0)
    semaphore.release(2)

    def child():
        semaphore.release()
        yield

    def main():
        yield (yield spawn(child()))
        return (yield free_permits(semaphore))

    assert vrun(main()) == 3


def test_a_task_that_ends_without_releasing_has_used_its_permit_up(vrun, caplog):
    def user(semaphore):
        yield semaphore.acquire()

    def main():
        semaphore = Semaphore(2)
        yield (yield spawn(user(semaphore)))
        return (yield free_permits(semaphore))

    assert vrun(main()) == 1
    assert not caplog.records


def test_a_bounded_semaphore_refuses_more_releases_than_acquires(vrun):
    def main():
        semaphore = BoundedSemaphore(2)
        with pytest.raises(ValueError):
            semaphore.release()
        yield semaphore.acquire()
        with pytest.raises(ValueError):
            semaphore.release(2)
        between = yield free_permits(semaphore)
        semaphore.release()
        with pytest.raises(ValueError):
            semaphore.release()
        return between, (yield free_permits(semaphore))

    assert vrun(main()) == (1, 2)


def test_a_plain_semaphore_grows_by_what_is_released(vrun):
    def main():
        semaphore = Semaphore(1)
        semaphore.release(3)
        return (yield free_permits(semaphore))

    assert vrun(main()) == 4


@SEMAPHORES
@pytest.mark.parametrize("n", [0, -1])
def test_releasing_less_than_one_permit_is_a_value_error(make, n):
    with pytest.raises(ValueError):
        make(2).release(n)


@SEMAPHORES
@pytest.mark.parametrize("n", ["1", 1.5, None])
def test_releasing_a_number_of_permits_that_is_no_whole_number_changes_nothing(vrun, make, n):
    def main():
        semaphore = make(3)
        yield semaphore.acquire()
        yield semaphore.acquire()
        with pytest.raises(TypeError):
            semaphore.release(n)
        return (yield free_permits(semaphore))

    assert vrun(main()) == 1


@SEMAPHORES
@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), ("2", TypeError), (1.5, TypeError), (None, TypeError)]
)
def test_a_number_of_permits_is_an_integer_of_at_least_zero(make, value, error):
    with pytest.raises(error):
        make(value)


@SEMAPHORES
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"blocking": False, "timeout": 1}, ValueError),
        ({"timeout": -2}, ValueError),
        ({"timeout": math.nan}, ValueError),
        ({"timeout": "1"}, TypeError),
    ],
)
def test_wrong_limits_of_an_acquire_are_refused(vrun, make, arguments, error):
    def main():
        semaphore = make(1)
        with pytest.raises(error):
            yield semaphore.acquire(**arguments)
        return (yield free_permits(semaphore))

    assert vrun(main()) == 1


def test_a_permit_for_minus_one_second_is_not_waited_for_without_end(vrun):
    """-1 means "for ever" to `threading.Lock` alone; a threading.Semaphore gives False."""
    assert threading.Semaphore(0).acquire(timeout=-1) is False

    def main():
        with move_on_after(5) as scope:
            try:
                yield Semaphore(0).acquire(timeout=-1)
            except ValueError:
                pass
        return scope.expired

    assert vrun(main()) is False


def test_of_two_semaphores_a_select_takes_one_permit(vrun, as_task):
    def chooser(first, second):
        index, _ = yield select(first.acquire(), second.acquire())
        return index, (yield free_permits(first)), (yield free_permits(second))

    def main():
        return (yield (yield spawn(as_task(chooser(Semaphore(2), Semaphore(2))))))

    assert vrun(main()) == (0, 1, 2)


def test_a_losing_branch_takes_no_permit_and_stands_in_no_queue(vrun):
    log = []

    def main():
        first, second = Semaphore(0), Semaphore(0)
        yield started([("select", select(first.acquire(), second.acquire()))], log)
        yield started([("behind", first.acquire())], log)
        second.release()
        first.release()
        yield sleep(1)
        return (yield free_permits(first)), (yield free_permits(second))

    assert vrun(main()) == (0, 0)
    assert [name for name, _ in log] == ["select", "behind"]
    assert log[0][1][0] == 1


def test_a_guard_that_a_select_gave_releases_its_permit(vrun):
    def main():
        semaphore = Semaphore(1)
        _, guard = yield select(Event().wait(), semaphore.acquire())
        with guard:
            inside = yield free_permits(semaphore)
        return inside, (yield free_permits(semaphore))

    assert vrun(main()) == (0, 1)


def test_a_permit_and_a_timeout_at_one_moment_neither_lose_nor_double_it(vrun):
    for order in (0, 1):
        log = []

        def releasing(semaphore):
            yield sleep(1)
            semaphore.release()

        def main(order=order, log=log):
            semaphore = Semaphore(0)
            routines = [
                releasing(semaphore),
                outcome_of(semaphore.acquire(timeout=1), log, "x"),
            ]
            for routine in routines if order else routines[::-1]:
                yield spawn(routine)
            yield sleep(5)
            return (yield free_permits(semaphore))

        free = vrun(main())
        assert (log, free) in [([("x", False)], 1), ([("x", "permit")], 0)]


@pytest.mark.forgets
@SEMAPHORES
def test_a_semaphore_shows_its_name_and_its_free_permits(make):
    semaphore = make(7, name="slots")
    assert "slots" in repr(semaphore)
    assert "7" in repr(semaphore)
    assert make.__name__ in repr(semaphore)
    assert make(0)
    assert "slots" in repr(semaphore.acquire())
    assert "slots" in repr(semaphore.acquire(timeout=3))


def test_a_deadlock_report_names_the_semaphore(vrun):
    def main():
        yield Semaphore(0, name="slots").acquire()

    with pytest.raises(DeadlockError, match="slots"):
        vrun(main())


@SEMAPHORES
def test_a_semaphore_goes_on_from_one_run_to_the_next(vrun, make):
    semaphore = make(2)

    def main():
        yield semaphore.acquire()
        return (yield free_permits(semaphore))

    assert [vrun(main()), vrun(main())] == [1, 0]


# ---- events


def test_all_wait_until_the_event_is_set(vrun, as_task):
    log = []

    def main():
        event = Event()
        yield started([(name, event.wait()) for name in range(5)], log, as_task)
        log.append("set")
        event.set()

    vrun(main())
    assert log == ["set", *((name, True) for name in range(5))]


def test_a_set_event_is_not_waited_for(vrun):
    def main():
        event = Event()
        event.set()
        event.set()
        return (yield event.wait()), (yield event.wait(0)), event.is_set(), now()

    assert vrun(main()) == (True, True, True, 0)


def test_waiting_for_a_set_event_is_a_schedule_point_all_the_same(vrun):
    log = []

    def other():
        log.append("other")
        yield

    def main():
        event = Event()
        event.set()
        yield spawn(other())
        log.append("waits")
        yield event.wait()
        log.append("went on")

    vrun(main())
    assert log == ["other", "waits", "went on"]


def test_a_cleared_event_is_waited_for_again(vrun):
    log = []

    def main():
        event = Event()
        log.append(event.is_set())
        event.set()
        event.clear()
        log.append(event.is_set())
        log.append((yield event.wait(3)))
        return now()

    assert vrun(main()) == 3
    assert log == [False, False, False]


def test_those_whom_set_has_woken_go_on_though_the_event_is_cleared_at_once(vrun):
    log = []

    def main():
        event = Event()
        yield started([(name, event.wait()) for name in range(3)], log)
        event.set()
        event.clear()
        yield started([("late", event.wait(5))], log)

    vrun(main())
    assert log == [(0, True), (1, True), (2, True), ("late", False)]


@pytest.mark.parametrize("seconds", [0, -1, 2.5])
def test_a_wait_for_an_event_is_false_when_its_time_is_over(vrun, seconds):
    def main():
        return (yield Event().wait(seconds)), now()

    assert vrun(main()) == (False, max(0, seconds))


@pytest.mark.parametrize("seconds", [None, math.inf])
def test_an_event_is_waited_for_as_long_as_it_takes(vrun, seconds):
    log = []

    def main():
        event = Event()
        yield started([("x", event.wait(seconds))], log)
        yield sleep(1_000_000)
        event.set()

    vrun(main())
    assert log == [("x", True)]


@pytest.mark.parametrize(("seconds", "error"), [(math.nan, ValueError), ("1", TypeError)])
@pytest.mark.parametrize("make", [Event, lambda: Barrier(2)])
def test_what_is_no_time_to_wait_is_refused(vrun, make, seconds, error):
    def main():
        with pytest.raises(error):
            yield make().wait(seconds)
        yield

    vrun(main())


def test_a_cancelled_wait_for_an_event_does_not_disturb_the_others(vrun, as_task):
    log = []

    def main():
        event = Event()
        tasks = yield started([(name, event.wait()) for name in "abc"], log, as_task)
        tasks[1].cancel()
        yield sleep(1)
        event.set()

    vrun(main())
    assert log == [("b", "cancelled"), ("a", True), ("c", True)]


def test_a_cancel_after_the_event_is_raised_at_the_next_yield(vrun):
    log = []

    def waiter(event):
        log.append((yield event.wait()))
        yield from outcome_of(sleep(1), log, "next yield")

    def main():
        event = Event()
        task = yield spawn(waiter(event))
        yield sleep(1)
        event.set()
        task.cancel()

    vrun(main())
    assert log == [True, ("next yield", "cancelled")]


def test_a_block_with_a_time_limit_ends_a_wait_for_an_event(vrun):
    def main():
        with pytest.raises(TimeoutError):
            with timeout(1):
                yield Event().wait()
        with move_on_after(1) as scope:
            yield Event().wait(5)
        return scope.expired, now()

    assert vrun(main()) == (True, 2)


def test_an_event_in_a_select_wins_or_leaves_no_trace(vrun):
    log = []

    def main():
        event, channel = Event(), Channel(1)
        yield started([("first", select(channel.recv(), event.wait()))], log)
        event.set()
        yield sleep(1)
        event.clear()
        yield started([("second", select(event.wait(), channel.recv()))], log)
        channel.try_send(1)
        yield sleep(1)
        event.set()
        yield started([("third", select(Event().wait(), event.wait(3)))], log)

    vrun(main())
    assert log == [("first", (1, True)), ("second", (1, 1)), ("third", (1, True))]


def test_setting_an_event_twice_in_a_select_wakes_it_once(vrun):
    log = []

    def main():
        first, second = Event(), Event()
        yield started([("x", select(first.wait(), second.wait()))], log)
        second.set()
        first.set()

    vrun(main())
    assert log == [("x", (1, True))]


def test_an_event_is_set_and_cleared_where_no_task_runs(vrun):
    event = Event()
    event.set()
    assert event.is_set()
    event.clear()
    assert not event.is_set()
    log = []
    with Kernel(clock=VirtualClock()) as kernel:
        kernel.spawn(outcome_of(event.wait(), log, "x"))
        kernel.tick()
        event.set()
        kernel.tick()
        kernel.tick()
    assert log == [("x", True)]


@pytest.mark.forgets
def test_an_event_shows_its_name_and_whether_it_is_set():
    event = Event(name="go")
    unset = repr(event)
    event.set()
    assert "go" in unset
    assert unset != repr(event)
    assert repr(event).startswith("<Event")
    assert "go" in repr(event.wait())
    assert "go" in repr(event.wait(3))
    assert Event()


def test_a_deadlock_report_names_the_event(vrun):
    def main():
        yield Event(name="the end of the world").wait()

    with pytest.raises(DeadlockError, match="the end of the world"):
        vrun(main())


# ---- barriers


@pytest.mark.parametrize("parties", [1, 2, 5])
def test_all_go_on_when_the_last_has_come_each_with_a_number_of_its_own(vrun, parties, as_task):
    log = []

    def coming(barrier, name):
        yield sleep(name)
        index = yield barrier.wait()
        log.append((name, index, now()))

    def main():
        barrier = Barrier(parties)
        for name in range(parties):
            yield spawn(as_task(coming(barrier, name)))

    vrun(main())
    assert sorted(log) == [(name, name, parties - 1) for name in range(parties)]


def test_a_barrier_serves_round_after_round(vrun, as_task):
    log = []

    def runner(barrier, name):
        for turn in range(4):
            yield sleep((name * 7 + turn * 3) % 5)
            log.append(("came", turn))
            yield barrier.wait()
            log.append(("left", turn))

    def main():
        barrier = Barrier(3)
        for name in range(3):
            yield spawn(as_task(runner(barrier, name)))

    vrun(main())
    for turn in range(4):
        last_came = max(i for i, entry in enumerate(log) if entry == ("came", turn))
        first_left = min(i for i, entry in enumerate(log) if entry == ("left", turn))
        assert last_came < first_left
    assert len(log) == 24


def test_more_tasks_than_parties_go_in_rounds_first_come_first_served(vrun):
    log = []

    def main():
        barrier = Barrier(2)
        tasks = yield started([(name, barrier.wait()) for name in range(5)], log)
        left = barrier.n_waiting
        tasks[4].cancel()
        yield sleep(1)
        return left, barrier.n_waiting

    assert vrun(main()) == (1, 0)
    assert sorted(log[:4]) == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert log[4:] == [(4, "cancelled")]


def test_the_numbers_are_there_to_read(vrun):
    def main():
        barrier = Barrier(3)
        seen = [(barrier.parties, barrier.n_waiting, barrier.broken)]
        yield started([(name, barrier.wait()) for name in range(2)], [])
        seen.append((barrier.parties, barrier.n_waiting, barrier.broken))
        yield barrier.wait()
        seen.append((barrier.parties, barrier.n_waiting, barrier.broken))
        return seen

    assert vrun(main()) == [(3, 0, False), (3, 2, False), (3, 0, False)]


def test_the_action_is_called_once_a_round_before_any_goes_on(vrun):
    log = []

    def main():
        barrier = Barrier(2, lambda: log.append("action"))
        for name in "abcd":
            yield spawn(outcome_of(barrier.wait(), log, name))

    vrun(main())
    assert log.count("action") == 2
    assert log[0] == "action"
    assert len(log) == 6
    assert log.index("action", 1) <= 4


def test_an_action_that_fails_breaks_the_barrier_and_is_raised_for_the_last(vrun):
    log = []

    def action():
        raise ZeroDivisionError("on purpose")

    def main():
        barrier = Barrier(3, action)
        yield started([(name, barrier.wait()) for name in "ab"], log)
        with pytest.raises(ZeroDivisionError):
            yield barrier.wait()
        yield sleep(1)
        with pytest.raises(BrokenBarrierError):
            yield barrier.wait()
        return barrier.broken, barrier.n_waiting

    assert vrun(main()) == (True, 0)
    assert log == [("a", "BrokenBarrierError"), ("b", "BrokenBarrierError")]


@pytest.mark.parametrize("by_default", [False, True])
def test_a_timeout_breaks_the_barrier_for_all(vrun, by_default, as_task):
    log = []

    def main():
        barrier = Barrier(3, None, 5) if by_default else Barrier(3)
        calls = [("timed", barrier.wait(None if by_default else 5)), ("other", barrier.wait(100))]
        yield started(calls, log, as_task)
        yield sleep(10)
        with pytest.raises(BrokenBarrierError):
            yield barrier.wait()
        return barrier.broken, barrier.n_waiting

    assert vrun(main()) == (True, 0)
    assert sorted(log) == [("other", "BrokenBarrierError"), ("timed", "BrokenBarrierError")]


def test_a_wait_has_a_limit_of_its_own_in_place_of_the_barrier_s(vrun):
    log = []

    def main():
        barrier = Barrier(2, timeout=1)
        yield started([("x", barrier.wait(10))], log)
        yield sleep(5)
        yield barrier.wait()
        return barrier.broken

    assert vrun(main()) is False
    assert log == [("x", 0)]


def test_a_wait_that_needs_no_waiting_does_not_break_the_barrier_with_no_time(vrun):
    def main():
        barrier = Barrier(1)
        return (yield barrier.wait(0)), (yield barrier.wait(-1)), barrier.broken

    assert vrun(main()) == (0, 0, False)


def test_a_wait_without_time_breaks_the_barrier_at_once(vrun):
    def main():
        barrier = Barrier(2)
        with pytest.raises(BrokenBarrierError):
            yield barrier.wait(0)
        return barrier.broken, now()

    assert vrun(main()) == (True, 0)


def test_abort_breaks_the_barrier_for_those_who_wait_and_who_come_later(vrun):
    log = []

    def main():
        barrier = Barrier(3)
        yield started([(name, barrier.wait()) for name in "ab"], log)
        barrier.abort()
        barrier.abort()
        yield sleep(1)
        yield outcome_of(barrier.wait(), log, "late")
        return barrier.broken, barrier.n_waiting

    assert vrun(main()) == (True, 0)
    assert log == [(name, "BrokenBarrierError") for name in ("a", "b", "late")]


def test_reset_sends_those_away_who_wait_and_the_barrier_is_as_new(vrun):
    log = []

    def main():
        barrier = Barrier(3)
        yield started([(name, barrier.wait()) for name in "ab"], log)
        barrier.reset()
        state = barrier.broken, barrier.n_waiting
        yield started([(name, barrier.wait()) for name in "cde"], log)
        return state

    assert vrun(main()) == (False, 0)
    assert log[:2] == [("a", "BrokenBarrierError"), ("b", "BrokenBarrierError")]
    assert sorted(log[2:]) == [("c", 0), ("d", 1), ("e", 2)]


def test_reset_mends_a_broken_barrier(vrun):
    log = []

    def main():
        barrier = Barrier(2)
        barrier.abort()
        barrier.reset()
        yield started([(name, barrier.wait()) for name in "ab"], log)
        return barrier.broken

    assert vrun(main()) is False
    assert sorted(log) == [("a", 0), ("b", 1)]


def test_a_reset_of_a_barrier_that_was_just_passed_harms_nobody(vrun):
    log = []

    def main():
        barrier = Barrier(2)
        yield started([("a", barrier.wait())], log)
        log.append(("main", (yield select(barrier.wait(), Event().wait()))))
        barrier.reset()

    vrun(main())
    assert sorted(log) == [("a", 0), ("main", (0, 1))]


def test_those_who_passed_go_on_though_the_barrier_is_aborted_in_the_same_step(vrun):
    log = []

    def last(barrier):
        yield barrier.wait()
        barrier.abort()
        log.append("aborted")

    def main():
        barrier = Barrier(3)
        yield started([(name, barrier.wait()) for name in "ab"], log)
        yield spawn(last(barrier))

    vrun(main())
    assert sorted(log, key=str) == [("a", 0), ("b", 1), "aborted"]


def test_a_cancelled_task_has_not_come(vrun, as_task):
    log = []

    def main():
        barrier = Barrier(3)
        tasks = yield started([(name, barrier.wait()) for name in "abc"[:2]], log, as_task)
        tasks[0].cancel()
        yield sleep(1)
        state = barrier.n_waiting, barrier.broken
        yield started([("c", barrier.wait())], log, as_task)
        assert len(log) == 1
        yield started([("d", barrier.wait())], log, as_task)
        return state

    assert vrun(main()) == (1, False)
    assert log[0] == ("a", "cancelled")
    assert sorted(log[1:]) == [("b", 0), ("c", 1), ("d", 2)]


def test_a_cancel_after_the_last_has_come_is_raised_at_the_next_yield(vrun):
    log = []

    def waiter(barrier):
        log.append((yield barrier.wait()))
        yield from outcome_of(sleep(1), log, "next yield")

    def last(barrier, task):
        yield barrier.wait()
        log.append("last")

    def main():
        barrier = Barrier(2, lambda: canceller.append(0))
        first = yield spawn(waiter(barrier))
        yield sleep(1)
        yield spawn(last(barrier, first))
        yield spawn(cancelling(first))

    def cancelling(task):
        # In the round in which the last comes, and before the first goes on.
        assert canceller == [0]
        task.cancel()
        yield

    canceller = []
    vrun(main())
    assert log == [0, "last", ("next yield", "cancelled")]


def test_a_block_with_a_time_limit_ends_a_wait_at_a_barrier_without_breaking_it(vrun):
    def main():
        barrier = Barrier(2)
        with move_on_after(2) as scope:
            yield barrier.wait()
        return scope.expired, barrier.broken, barrier.n_waiting

    assert vrun(main()) == (True, False, 0)


def test_a_task_whose_select_went_another_way_has_not_come(vrun):
    log = []

    def main():
        barrier, event = Barrier(2), Event()
        yield started([("select", select(barrier.wait(), event.wait()))], log)
        event.set()
        yield sleep(1)
        state = barrier.n_waiting, barrier.broken
        yield started([("a", barrier.wait())], log)
        assert len(log) == 1
        yield started([("b", select(event.clear() or event.wait(), barrier.wait()))], log)
        return state

    assert vrun(main()) == (0, False)
    assert log[0] == ("select", (1, True))
    assert sorted(log[1:]) == [("a", 0), ("b", (1, 1))]


def test_a_select_does_not_come_twice_to_one_barrier(vrun):
    """Both branches are of one task, which is one party."""
    log = []

    def main():
        barrier = Barrier(2)
        with move_on_after(5) as scope:
            log.append((yield select(barrier.wait(), barrier.wait())))
        return scope.expired, barrier.n_waiting

    assert vrun(main()) == (True, 0)
    assert log == []


def test_a_select_whose_barrier_breaks_raises_and_its_other_branch_took_nothing(vrun):
    log = []

    def main():
        barrier, channel = Barrier(2), Channel()
        yield started([("x", select(channel.recv(), barrier.wait()))], log)
        barrier.abort()
        yield sleep(1)
        return channel.try_send("nobody")

    assert vrun(main()) is False
    assert log == [("x", "BrokenBarrierError")]


@pytest.mark.parametrize(
    ("parties", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (1.5, TypeError)]
)
def test_parties_are_an_integer_of_at_least_one(parties, error):
    with pytest.raises(error):
        Barrier(parties)


def test_a_broken_barrier_error_is_a_runtime_error_as_in_threading():
    assert issubclass(BrokenBarrierError, RuntimeError)
    assert issubclass(threading.BrokenBarrierError, RuntimeError)


@pytest.mark.forgets
def test_a_barrier_shows_its_name_and_how_many_have_come(vrun):
    def main():
        barrier = Barrier(3, name="start")
        yield started([("x", barrier.wait())], [])
        shown = repr(barrier)
        barrier.abort()
        yield sleep(1)
        return shown, repr(barrier), repr(Barrier(2, name="start").wait(1))

    shown, broken, call = vrun(main())
    assert "start" in shown
    assert "1" in shown
    assert "3" in shown
    assert "broken" in broken
    assert "start" in call


def test_a_deadlock_report_names_the_barrier(vrun):
    def main():
        yield Barrier(2, name="start").wait()

    with pytest.raises(DeadlockError, match="start"):
        vrun(main())


def test_one_call_of_each_can_be_made_again_and_again(vrun):
    def main():
        event, barrier, semaphore = Event(), Barrier(1), Semaphore(3)
        event.set()
        results = []
        for call in (event.wait(), barrier.wait(), semaphore.acquire(), event.wait(2)):
            for _ in range(3):
                results.append(bool((yield call)))
        return results

    assert vrun(main()) == [True] * 3 + [False] * 3 + [True] * 6


# ---- cost


def seconds_to_set(n):
    """Processor time of setting an event that `n` tasks wait for, until all have gone on."""

    def user(event):
        yield event.wait()

    def main():
        event = Event()
        tasks = []
        for _ in range(n):
            tasks.append((yield spawn(user(event))))
        yield sleep(1)
        with ProcessorTime() as took:
            event.set()
            yield
        assert all(task.done for task in tasks)
        return took.seconds

    return vrun(main())


def seconds_to_pass_a_barrier(n):
    """Processor time of `n` tasks that go on since the last has come to their barrier."""

    def user(barrier):
        yield barrier.wait()

    def main():
        barrier = Barrier(n + 1)
        for _ in range(n):
            yield spawn(user(barrier))
        yield sleep(1)
        with ProcessorTime() as took:
            yield barrier.wait()
            yield
        return took.seconds

    return vrun(main())


@pytest.mark.parametrize("measure", [seconds_to_set, seconds_to_pass_a_barrier])
def test_ten_times_the_waiters_of_an_event_cost_about_ten_times_as_much(unobserved, measure):
    assert_ten_times_as_many_cost_about_ten_times_as_much(measure)
