"""Supervisors: who is started again, when, in what order, and when it is given up."""

from __future__ import annotations

import heapq
import logging
import sys

import pytest
from helpers import coroutine_of, unlogged, vrun
from hypothesis import given, settings
from hypothesis import strategies as st

from microthreads import (
    Cancelled,
    Queue,
    Supervisor,
    move_on_after,
    now,
    shield,
    sleep,
    spawn,
    timeout,
)


class Children:
    """Functions to supervise, which note when they begin and end."""

    def __init__(self):
        self.log = []

    def note(self, *entry):
        self.log.append((*entry, now()))

    def lives(self, name, *lives, clean_up=0):
        """A function whose n-th call lives as the n-th of `lives` says, then for ever.

        A life is how long it takes, and the error that ends it, or None.
        """
        left = list(lives)

        def child():
            seconds, error = left.pop(0) if left else (1e6, None)
            self.note(name, "begins")
            try:
                yield sleep(seconds)
            except Cancelled:
                if clean_up:
                    with shield(1e6):
                        yield sleep(clean_up)
                self.note(name, "cancelled")
                raise
            self.note(name, "returns" if error is None else "fails")
            if error is not None:
                raise error

        return child

    def async_lives(self, name, *lives, clean_up=0):
        routine = self.lives(name, *lives, clean_up=clean_up)

        async def child():
            return await coroutine_of(routine())

        return child


every_form = pytest.mark.parametrize("form", ["lives", "async_lives"])


def for_a_while(supervisor, seconds):
    """Run a supervisor for so long, and then cancel it."""
    task = yield spawn(supervisor.run(), name="the supervisor")
    yield sleep(seconds)
    task.cancel()
    with pytest.raises(Cancelled):
        yield task


def made(strategy="one_for_one", **options):
    return Supervisor(strategy, **options), Children()


# ---- beginning and end


@every_form
def test_a_supervisor_ends_when_all_its_children_have_ended_for_good(vrun, form):
    supervisor, children = made()
    lives = getattr(children, form)
    for name, seconds in (("a", 2), ("b", 1)):
        supervisor.add(lives(name, (seconds, None)))

    def main():
        return (yield supervisor.run()), now()

    assert vrun(main()) == (None, 2)
    assert children.log == [
        ("a", "begins", 0),
        ("b", "begins", 0),
        ("b", "returns", 1),
        ("a", "returns", 2),
    ]


def test_a_supervisor_can_be_yielded_yielded_from_awaited_spawned_and_run(vrun):
    children = Children()

    def supervised():
        supervisor = Supervisor()
        supervisor.add(children.lives("a", (1, None)))
        return supervisor.run()

    def main():
        yield supervised()
        yield from supervised()
        yield awaiting()
        yield (yield spawn(supervised()))
        return now()

    async def awaiting():
        await supervised()

    assert vrun(main()) == 4
    vrun(supervised())


def test_a_supervisor_without_children_ends_at_once(vrun):
    def main():
        yield Supervisor().run()
        return now()

    assert vrun(main()) == 0


def test_nothing_starts_before_the_supervisor_runs(vrun):
    supervisor, children = made()
    child = supervisor.add(children.lives("a", (1, None)))

    def main():
        yield sleep(5)
        before = list(children.log), child.running
        yield supervisor.run()
        return before

    assert vrun(main()) == ([], False)


def test_the_arguments_are_given_to_the_function_at_each_start(vrun):
    supervisor, log = Supervisor(), []

    def child(*args):
        log.append(args)
        yield sleep(1)
        if len(log) < 3:
            raise KeyError

    supervisor.add(child, 1, "two")
    vrun(supervisor.run())
    assert log == [(1, "two")] * 3


def test_children_are_started_in_the_order_in_which_they_were_added(vrun):
    supervisor, children = made()
    for name in "abcde":
        supervisor.add(children.lives(name, (1, None)))
    vrun(supervisor.run())
    assert [name for name, what, _ in children.log if what == "begins"] == list("abcde")


@every_form
def test_cancelling_a_supervisor_ends_its_children_in_the_opposite_order(vrun, form):
    supervisor, children = made()
    for name in "abc":
        supervisor.add(getattr(children, form)(name, clean_up=1))

    vrun(for_a_while(supervisor, 5))
    assert children.log[3:] == [
        ("c", "cancelled", 6),
        ("b", "cancelled", 7),
        ("a", "cancelled", 8),
    ]


def test_a_time_limit_around_a_supervisor_ends_its_children(vrun):
    supervisor, children = made()
    for name in "ab":
        supervisor.add(children.lives(name, clean_up=1))

    def main():
        with pytest.raises(TimeoutError):
            with timeout(3):
                yield supervisor.run()
        children.note("main", "goes on")

    vrun(main())
    assert children.log[2:] == [
        ("b", "cancelled", 4),
        ("a", "cancelled", 5),
        ("main", "goes on", 5),
    ]


def test_cancelling_a_supervisor_twice_does_not_hurry_its_children(vrun):
    supervisor, children = made()
    for name in "ab":
        supervisor.add(children.lives(name, clean_up=5))

    def main():
        task = yield spawn(supervisor.run())
        yield sleep(1)
        for _ in range(3):
            task.cancel()
            yield sleep(1)
        with pytest.raises(Cancelled):
            yield task
        children.note("main", "goes on")

    vrun(main())
    assert children.log[2:] == [
        ("b", "cancelled", 6),
        ("a", "cancelled", 11),
        ("main", "goes on", 11),
    ]


def test_a_supervisor_cancelled_before_its_first_step_starts_nothing(vrun):
    supervisor, children = made()
    supervisor.add(children.lives("a"))

    def main():
        with move_on_after(0):
            yield supervisor.run()
        yield sleep(1)

    vrun(main())
    assert [entry for entry in children.log if entry[1] == "begins"] in (
        [],
        [("a", "begins", 0)],
    )
    assert not supervisor.children[0].running


def test_the_children_of_a_daemon_supervisor_do_not_keep_the_program_going(vrun):
    """As the threads that a daemon thread starts are daemons."""
    supervisor, children = made()
    for name in "ab":
        supervisor.add(children.lives(name))

    def main():
        yield spawn(supervisor.run(), daemon=True)
        yield sleep(3)

    vrun(main())
    assert sorted(children.log[2:]) == [("a", "cancelled", 3), ("b", "cancelled", 3)]


# ---- who is restarted


@every_form
@pytest.mark.parametrize(
    ("restart", "end", "again"),
    [
        ("permanent", None, True),
        ("permanent", KeyError("k"), True),
        ("transient", None, False),
        ("transient", KeyError("k"), True),
        ("temporary", None, False),
        ("temporary", KeyError("k"), False),
    ],
)
def test_whether_a_child_is_restarted_is_its_own_affair(vrun, form, restart, end, again):
    supervisor, children = made()
    child = supervisor.add(getattr(children, form)("a", (1, end)), restart=restart)
    other = supervisor.add(getattr(children, form)("b", (5, None)), restart="temporary")
    vrun(for_a_while(supervisor, 3))
    begun = [at for name, what, at in children.log if (name, what) == ("a", "begins")]
    assert begun == ([0, 1] if again else [0])
    assert (child.restarts, other.restarts) == (int(again), 0)


def test_a_child_is_transient_if_nothing_is_said(vrun):
    supervisor, children = made()
    child = supervisor.add(children.lives("a", (1, KeyError()), (1, None)))
    vrun(supervisor.run())
    assert (child.restart, child.restarts) == ("transient", 1)


@pytest.mark.parametrize(
    ("restart", "again"), [("permanent", True), ("transient", False), ("temporary", False)]
)
def test_a_child_that_somebody_cancelled_has_ended_and_not_failed(vrun, restart, again):
    supervisor, children = made()
    child = supervisor.add(children.lives("a"), restart=restart)
    supervisor.add(children.lives("b"))

    def main():
        yield spawn(canceller())
        yield for_a_while(supervisor, 3)

    def canceller():
        yield sleep(1)
        child.task.cancel()

    vrun(main())
    begun = [at for name, what, at in children.log if (name, what) == ("a", "begins")]
    assert begun == ([0, 1] if again else [0])


def test_a_child_shows_its_name_its_task_and_how_often_it_was_restarted(vrun):
    supervisor, children = made()
    child = supervisor.add(children.lives("a", (1, KeyError()), (1, None)), name="worker")
    other = supervisor.add(children.lives("b", (1, None)))
    log = []

    def main():
        task = yield spawn(supervisor.run())
        yield sleep(0.5)
        first = child.task
        log.append((child.running, first.name, child.restarts))
        yield sleep(1)
        log.append((child.running, child.task is not first, child.restarts, other.running))
        yield task
        log.append((child.running, child.restarts))

    vrun(main())
    assert log == [(True, "worker", 0), (True, True, 1, False), (False, 1)]
    assert (child.name, other.name) == ("worker", "child")
    assert supervisor.children == [child, other]
    assert "worker" in repr(child)


def test_one_for_one_restarts_that_child_alone(vrun):
    supervisor, children = made("one_for_one")
    supervisor.add(children.lives("a"))
    supervisor.add(children.lives("b", (1, KeyError())))
    supervisor.add(children.lives("c"))
    vrun(for_a_while(supervisor, 2))
    assert children.log == [
        ("a", "begins", 0),
        ("b", "begins", 0),
        ("c", "begins", 0),
        ("b", "fails", 1),
        ("b", "begins", 1),
        ("c", "cancelled", 2),
        ("b", "cancelled", 2),
        ("a", "cancelled", 2),
    ]


@every_form
def test_one_for_all_restarts_all_children(vrun, form):
    supervisor, children = made("one_for_all")
    lives = getattr(children, form)
    supervisor.add(lives("a", clean_up=1))
    supervisor.add(lives("b", (1, KeyError())))
    supervisor.add(lives("c", clean_up=1))
    vrun(for_a_while(supervisor, 3.5))
    assert children.log[3:10] == [
        ("b", "fails", 1),
        ("c", "cancelled", 2),
        ("a", "cancelled", 3),
        ("a", "begins", 3),
        ("b", "begins", 3),
        ("c", "begins", 3),
        ("c", "cancelled", 4.5),
    ]


@every_form
def test_rest_for_one_restarts_that_child_and_those_added_after_it(vrun, form):
    supervisor, children = made("rest_for_one")
    lives = getattr(children, form)
    supervisor.add(lives("a"))
    supervisor.add(lives("b", (1, KeyError())))
    supervisor.add(lives("c", clean_up=1))
    supervisor.add(lives("d", clean_up=1))
    vrun(for_a_while(supervisor, 4))
    assert children.log[4:10] == [
        ("b", "fails", 1),
        ("d", "cancelled", 2),
        ("c", "cancelled", 3),
        ("b", "begins", 3),
        ("c", "begins", 3),
        ("d", "begins", 3),
    ]
    assert [entry for entry in children.log if entry[0] == "a"] == [
        ("a", "begins", 0),
        ("a", "cancelled", 6),
    ]


def test_rest_for_one_of_the_last_child_restarts_that_alone(vrun):
    supervisor, children = made("rest_for_one")
    supervisor.add(children.lives("a"))
    supervisor.add(children.lives("b", (1, KeyError())))
    vrun(for_a_while(supervisor, 2))
    assert children.log[2:4] == [("b", "fails", 1), ("b", "begins", 1)]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_restart_of_several_counts_once(vrun, strategy):
    supervisor, children = made(strategy, max_restarts=2, max_seconds=100)
    supervisor.add(children.lives("a", (1, KeyError()), (1, KeyError())))
    for name in "bcde":
        supervisor.add(children.lives(name))
    vrun(for_a_while(supervisor, 10))
    assert children.log[-1] == ("a", "cancelled", 10)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_temporary_child_that_is_ended_for_another_is_not_started_again(vrun, strategy):
    supervisor, children = made(strategy)
    supervisor.add(children.lives("a", (1, KeyError())))
    supervisor.add(children.lives("b"), restart="temporary")
    vrun(for_a_while(supervisor, 3))
    assert [entry for entry in children.log if entry[0] == "b"] == [
        ("b", "begins", 0),
        ("b", "cancelled", 1),
    ]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
@pytest.mark.parametrize("end", [None, KeyError("k")])
def test_a_child_that_is_not_to_be_restarted_takes_no_others_with_it(vrun, strategy, end):
    supervisor, children = made(strategy)
    supervisor.add(children.lives("a", (1, end)), restart="temporary")
    supervisor.add(children.lives("b", (3, None)))

    def main():
        yield supervisor.run()
        return now()

    assert vrun(main()) == 3
    assert children.log[-1] == ("b", "returns", 3)


def test_two_children_that_fail_in_one_moment_are_both_restarted(vrun):
    supervisor, children = made()
    for name in "ab":
        supervisor.add(children.lives(name, (1, KeyError(name)), (1, None)))

    def main():
        yield supervisor.run()
        return now()

    assert vrun(main()) == 2
    assert [child.restarts for child in supervisor.children] == [1, 1]


def test_two_children_that_fail_in_one_moment_are_restarted_by_one_for_all(vrun):
    supervisor, children = made("one_for_all")
    for name in "ab":
        supervisor.add(children.lives(name, (1, KeyError(name)), (1, None)))

    def main():
        yield supervisor.run()
        return now()

    assert vrun(main()) == 2
    begun = [(name, at) for name, what, at in children.log if what == "begins"]
    assert begun[:2] == [("a", 0), ("b", 0)]
    assert begun[-2:] == [("a", 1), ("b", 1)]


def test_a_child_that_fails_while_another_is_being_ended_is_restarted_once(vrun):
    supervisor, children = made("one_for_all")
    supervisor.add(children.lives("a", (1, KeyError("a"))))
    supervisor.add(children.lives("b", (2, KeyError("b"))))
    supervisor.add(children.lives("c", clean_up=5))
    vrun(for_a_while(supervisor, 20))
    begun = [(name, at) for name, what, at in children.log if what == "begins"]
    assert begun[:3] == [("a", 0), ("b", 0), ("c", 0)]
    assert begun[-3:] == [("a", 6), ("b", 6), ("c", 6)]


# ---- too often


def test_one_restart_more_than_allowed_fails_the_supervisor(vrun):
    supervisor, children = made(max_restarts=2, max_seconds=10)
    errors = [KeyError(number) for number in range(4)]
    supervisor.add(children.lives("a", *((1, error) for error in errors)))
    supervisor.add(children.lives("b", clean_up=1))
    supervisor.add(children.lives("c", clean_up=1))

    def main():
        with pytest.raises(RuntimeError) as caught:
            yield supervisor.run()
        return caught.value.__cause__, now()

    assert vrun(main()) == (errors[2], 5)
    assert [entry for entry in children.log if entry[1] != "begins"] == [
        ("a", "fails", 1),
        ("a", "fails", 2),
        ("a", "fails", 3),
        ("c", "cancelled", 4),
        ("b", "cancelled", 5),
    ]


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_with_no_restarts_allowed_the_first_failure_is_too_many(vrun, strategy):
    supervisor, children = made(strategy, max_restarts=0)
    supervisor.add(children.lives("a", (1, error := KeyError())))
    supervisor.add(children.lives("b"))

    def main():
        with pytest.raises(RuntimeError) as caught:
            yield supervisor.run()
        return caught.value.__cause__, now()

    assert vrun(main()) == (error, 1)
    assert children.log[-1] == ("b", "cancelled", 1)


def test_three_restarts_in_five_seconds_are_allowed_if_nothing_is_said(vrun):
    supervisor, children = made()
    supervisor.add(children.lives("a", *[(0.1, KeyError())] * 3, (0.1, None)))
    vrun(supervisor.run())
    assert supervisor.children[0].restarts == 3
    supervisor, children = made()
    supervisor.add(children.lives("a", *[(0.1, KeyError())] * 4, (0.1, None)))
    with pytest.raises(RuntimeError):
        vrun(supervisor.run())


def test_restarts_that_are_longer_ago_do_not_count(vrun):
    supervisor, children = made(max_restarts=2, max_seconds=10)
    supervisor.add(children.lives("a", *[(6, KeyError())] * 50, (1, None)))

    def main():
        yield supervisor.run()
        return now()

    # At most two in any ten seconds: one every six.
    assert vrun(main()) == 301
    assert supervisor.children[0].restarts == 50


def test_the_window_slides(vrun):
    supervisor, children = made(max_restarts=2, max_seconds=10)
    # Restarts at 1, 8, 12 (the first is forgotten), 19, and at 20 it is too much.
    lives = [(seconds, KeyError(seconds)) for seconds in (1, 7, 4, 7, 1)]
    supervisor.add(children.lives("a", *lives))

    def main():
        with pytest.raises(RuntimeError):
            yield supervisor.run()
        return now()

    assert vrun(main()) == 20
    assert supervisor.children[0].restarts == 4


def test_the_restarts_of_all_children_count_together(vrun):
    supervisor, children = made(max_restarts=2, max_seconds=10)
    for number, name in enumerate("abc"):
        supervisor.add(children.lives(name, (number + 1, KeyError(name))))

    def main():
        with pytest.raises(RuntimeError) as caught:
            yield supervisor.run()
        return repr(caught.value.__cause__), now()

    assert vrun(main()) == ("KeyError('c')", 3)


def test_temporary_children_that_fail_do_not_count(vrun):
    supervisor, children = made(max_restarts=0)
    for number in range(5):
        supervisor.add(children.lives(number, (1, KeyError())), restart="temporary")
    vrun(supervisor.run())
    assert [entry[1] for entry in children.log] == ["begins"] * 5 + ["fails"] * 5


def test_a_permanent_child_that_returns_too_often_fails_the_supervisor(vrun):
    supervisor, children = made(max_restarts=2)
    supervisor.add(children.lives("a", *[(1, None)] * 5), restart="permanent")

    def main():
        with pytest.raises(RuntimeError) as caught:
            yield supervisor.run()
        return caught.value.__cause__, now()

    assert vrun(main()) == (None, 3)


def test_a_child_that_fails_at_once_each_time_does_not_hang_the_supervisor(vrun):
    supervisor, log = Supervisor(max_restarts=100), []

    def child():
        log.append(now())
        raise KeyError("at once")
        yield

    supervisor.add(child)
    with pytest.raises(RuntimeError) as caught:
        vrun(supervisor.run())
    assert repr(caught.value.__cause__) == "KeyError('at once')"
    assert log == [0] * 101


def test_a_supervisor_that_gave_up_names_itself_and_the_child(vrun):
    supervisor = Supervisor(name="the boss", max_restarts=0)
    supervisor.add(Children().lives("a", (1, KeyError())), name="worker")
    with pytest.raises(RuntimeError) as caught:
        vrun(supervisor.run())
    assert "the boss" in str(caught.value)
    assert "worker" in str(caught.value)


# ---- functions that go wrong


def test_a_function_that_raises_when_it_is_called_has_failed(vrun):
    supervisor, log = Supervisor(), []

    def function():
        log.append("called")
        if len(log) < 3:
            raise KeyError("called")
        return healthy()

    def healthy():
        log.append("runs")
        yield

    supervisor.add(function)
    vrun(supervisor.run())
    assert log == ["called", "called", "called", "runs"]


@pytest.mark.parametrize("result", [None, 5, [1], sleep])
def test_a_function_that_returns_no_routine_has_failed(vrun, result):
    supervisor, calls = Supervisor(max_restarts=1), []

    def function():
        calls.append("called")
        return result

    supervisor.add(function)
    with pytest.raises(RuntimeError) as caught:
        vrun(supervisor.run())
    assert isinstance(caught.value.__cause__, TypeError)
    assert calls == ["called"] * 2


def test_a_function_that_returns_the_same_routine_again_has_failed(vrun):
    routine = Children().lives("a", (1, KeyError("first")))()
    supervisor = Supervisor(max_restarts=1)
    supervisor.add(lambda: routine)
    with pytest.raises(RuntimeError) as caught:
        vrun(supervisor.run())
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_sys_exit_in_a_child_ends_the_program_and_restarts_nothing(vrun):
    supervisor, children = made()
    calls = []

    def leaving():
        calls.append("called")
        yield sleep(1)
        sys.exit(4)

    supervisor.add(children.lives("a"))
    supervisor.add(leaving)
    with pytest.raises(SystemExit) as caught:
        vrun(supervisor.run())
    assert caught.value.code == 4
    assert calls == ["called"]
    assert children.log[-1] == ("a", "cancelled", 1)


def test_a_child_that_fails_while_it_is_ended_does_not_keep_the_others_alive(vrun, caplog):
    supervisor, children = made()

    def spiteful():
        try:
            yield sleep(1e6)
        finally:
            raise OSError("clean-up failed")

    supervisor.add(children.lives("a"))
    supervisor.add(spiteful)
    supervisor.add(children.lives("c"))
    log = []

    def main():
        task = yield spawn(supervisor.run())
        yield sleep(1)
        task.cancel()
        try:
            yield task
        except BaseException as error:
            log.append(repr(error))

    vrun(main())
    assert children.log[2:] == [("c", "cancelled", 1), ("a", "cancelled", 1)]
    assert "clean-up failed" in caplog.text + "".join(log)


def test_a_child_that_fails_while_it_is_ended_for_another_is_restarted_with_it(vrun, caplog):
    supervisor, children = made("one_for_all", max_restarts=1)
    calls = []

    def spiteful():
        calls.append(now())
        try:
            yield sleep(1e6)
        finally:
            if len(calls) == 1:
                raise OSError("clean-up failed")

    supervisor.add(spiteful)
    supervisor.add(children.lives("b", (1, KeyError("k"))))
    vrun(for_a_while(supervisor, 3))
    assert calls == [0, 1]
    assert "clean-up failed" in caplog.text


# ---- what is said


def test_a_failure_is_logged_with_its_traceback_and_what_is_done(vrun, caplog):
    supervisor = Supervisor(name="the boss")
    supervisor.add(Children().lives("a", (1, KeyError("lost")), (1, None)), name="worker")
    vrun(supervisor.run())
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name.split(".")[0] for record in records] == ["microthreads"]
    assert "worker" in records[0].getMessage()
    assert "the boss" in records[0].getMessage()
    assert "KeyError: 'lost'" in caplog.text


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_each_failure_is_logged_once_and_no_return_or_cancellation_is(vrun, caplog, restart):
    supervisor, children = made()
    supervisor.add(children.lives("a", (1, KeyError("lost")), (1, None)), restart=restart)
    supervisor.add(children.lives("b"))
    crashes = []

    def main():
        yield spawn(for_a_while(supervisor, 5))

    vrun(main(), on_crash=crashes.append)
    assert caplog.text.count("KeyError: 'lost'") == 1
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    assert crashes == []


def test_both_failures_of_one_moment_are_logged_by_one_for_all(vrun, caplog):
    supervisor, children = made("one_for_all")
    for name in "ab":
        supervisor.add(children.lives(name, (1, KeyError(name)), (1, None)))
    vrun(supervisor.run())
    assert caplog.text.count("KeyError: 'a'") == 1
    assert caplog.text.count("KeyError: 'b'") == 1


# ---- while it runs


def test_a_child_can_be_added_while_the_supervisor_runs(vrun):
    supervisor, children = made()
    supervisor.add(children.lives("a", (3, None)))

    def main():
        task = yield spawn(supervisor.run())
        yield sleep(1)
        supervisor.add(children.lives("b", (1, KeyError()), (5, None)))
        yield task
        return now()

    assert vrun(main()) == 7
    assert children.log == [
        ("a", "begins", 0),
        ("b", "begins", 1),
        ("b", "fails", 2),
        ("b", "begins", 2),
        ("a", "returns", 3),
        ("b", "returns", 7),
    ]


def test_a_child_can_add_another(vrun):
    supervisor, children = made()

    def adding():
        yield sleep(1)
        supervisor.add(children.lives("b", (2, None)))

    supervisor.add(adding)

    def main():
        yield supervisor.run()
        return now()

    assert vrun(main()) == 3
    assert children.log == [("b", "begins", 1), ("b", "returns", 3)]


def test_an_added_child_is_ended_first(vrun):
    supervisor, children = made()
    supervisor.add(children.lives("a"))

    def main():
        task = yield spawn(supervisor.run())
        yield sleep(1)
        supervisor.add(children.lives("b", clean_up=1))
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield task

    vrun(main())
    assert children.log[2:] == [("b", "cancelled", 3), ("a", "cancelled", 3)]


def test_a_child_added_while_others_are_being_ended_does_not_stay(vrun):
    supervisor, children = made()
    supervisor.add(children.lives("a", clean_up=5))

    def main():
        task = yield spawn(supervisor.run())
        yield sleep(1)
        task.cancel()
        yield sleep(1)
        supervisor.add(children.lives("late"))
        with pytest.raises(Cancelled):
            yield task
        children.note("main", "goes on")
        yield sleep(1)

    vrun(main())
    assert children.log[-1] == ("main", "goes on", 6)


def test_a_child_added_during_a_restart_of_all_is_started_once(vrun):
    supervisor, children = made("one_for_all")
    supervisor.add(children.lives("a", (1, KeyError())))
    supervisor.add(children.lives("b", clean_up=5))

    def main():
        yield spawn(for_a_while(supervisor, 10))
        yield sleep(3)
        supervisor.add(children.lives("late"))

    vrun(main())
    begun = [(name, at) for name, what, at in children.log if what == "begins"]
    assert sum(name == "late" for name, _ in begun) == 1
    ended = [name for name, what, at in children.log if what == "cancelled" and at >= 10]
    assert ended == ["late", "b", "a"]


def test_cancelling_a_supervisor_in_the_middle_of_a_restart_leaves_nobody(vrun):
    supervisor, children = made("one_for_all")
    supervisor.add(children.lives("a", (1, KeyError())))
    supervisor.add(children.lives("b", clean_up=5))
    supervisor.add(children.lives("c", clean_up=5))

    def main():
        yield for_a_while(supervisor, 3)
        children.note("main", "goes on")

    vrun(main())
    assert children.log[-3:] == [
        ("c", "cancelled", 6),
        ("b", "cancelled", 11),
        ("main", "goes on", 11),
    ]
    assert not any(child.running for child in supervisor.children)


def test_a_supervisor_runs_once_at_a_time(vrun):
    supervisor, children = made()
    supervisor.add(children.lives("a", (5, None)))

    def main():
        task = yield spawn(supervisor.run())
        yield sleep(1)
        with pytest.raises(RuntimeError):
            yield supervisor.run()
        yield task
        return now()

    assert vrun(main()) == 5


def test_a_supervisor_can_run_again(vrun):
    supervisor, children = made()
    supervisor.add(children.lives("a", (1, None), (2, None)))

    def main():
        yield supervisor.run()
        yield supervisor.run()
        return now()

    assert vrun(main()) == 3


def test_restarted_tasks_can_use_what_the_old_ones_left(vrun):
    """Work that a worker was given and did not finish can be done by its successor."""
    supervisor = Supervisor(max_restarts=10)

    def worker(queue, done):
        while True:
            item = yield queue.get()
            try:
                yield sleep(1)
                if item == "bad" and item not in done:
                    done.append("bad")
                    queue.put_nowait("bad")
                    raise KeyError(item)
                done.append(item)
            finally:
                queue.task_done()

    def main():
        queue, done = Queue(), []
        for _ in range(2):
            supervisor.add(worker, queue, done)
        task = yield spawn(supervisor.run())
        for item in ("a", "bad", "c"):
            yield queue.put(item)
        yield queue.join()
        task.cancel()
        return sorted(done)

    assert vrun(main()) == ["a", "bad", "bad", "c"]


# ---- supervisors of supervisors


def test_a_supervisor_that_gives_up_is_restarted_by_the_one_above(vrun):
    log = []

    def worker():
        log.append(now())
        yield sleep(1)
        if len(log) < 6:
            raise KeyError(len(log))

    def inner():
        supervisor = Supervisor(max_restarts=1)
        supervisor.add(worker)
        return supervisor.run()

    outer = Supervisor(max_restarts=5, max_seconds=100)
    child = outer.add(inner)
    vrun(outer.run())
    assert log == [0, 1, 2, 3, 4, 5]
    assert child.restarts == 2


def test_the_run_of_a_supervisor_is_a_function_to_supervise(vrun):
    log = []

    def worker():
        log.append(now())
        yield sleep(1)
        if len(log) < 4:
            raise KeyError(len(log))

    inner, outer = Supervisor(max_restarts=0), Supervisor(max_restarts=5, max_seconds=100)
    inner.add(worker)
    child = outer.add(inner.run)
    vrun(outer.run())
    assert log == [0, 1, 2, 3]
    assert child.restarts == 3


def test_cancelling_the_outer_supervisor_ends_the_inner_ones_children_in_order(vrun):
    outer, inner, children = Supervisor(), Supervisor(), Children()
    outer.add(children.lives("a", clean_up=1))
    outer.add(inner.run)
    for name in "bc":
        inner.add(children.lives(name, clean_up=1))
    outer.add(children.lives("d", clean_up=1))
    vrun(for_a_while(outer, 5))
    assert sorted(children.log[:4]) == [(name, "begins", 0) for name in "abcd"]
    assert children.log[4:] == [
        ("d", "cancelled", 6),
        ("c", "cancelled", 7),
        ("b", "cancelled", 8),
        ("a", "cancelled", 9),
    ]


def test_when_the_outermost_gives_up_the_causes_tell_the_story(vrun):
    outer, inner = Supervisor(max_restarts=0), Supervisor(max_restarts=0)
    inner.add(Children().lives("a", (1, error := KeyError("root"))))
    outer.add(inner.run)
    with pytest.raises(RuntimeError) as caught:
        vrun(outer.run())
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert caught.value.__cause__.__cause__ is error


# ---- what is refused


@pytest.mark.parametrize("strategy", ["one_for_none", "", None, 1])
def test_a_strategy_that_does_not_exist_is_refused(strategy):
    with pytest.raises(ValueError):
        Supervisor(strategy)


@pytest.mark.parametrize("options", [{"max_restarts": -1}, {"max_seconds": -1}])
def test_negative_numbers_are_refused(options):
    with pytest.raises(ValueError):
        Supervisor(**options)


@pytest.mark.parametrize("restart", ["always", "", None])
def test_a_restart_that_does_not_exist_is_refused(restart):
    supervisor = Supervisor()
    with pytest.raises(ValueError):
        supervisor.add(Children().lives("a"), restart=restart)
    assert supervisor.children == []


@pytest.mark.parametrize("function", [None, 5, "worker"])
def test_what_cannot_be_called_is_refused(function):
    supervisor = Supervisor()
    with pytest.raises(TypeError):
        supervisor.add(function)
    assert supervisor.children == []


def test_a_routine_instead_of_a_function_is_refused():
    with pytest.raises(TypeError):
        Supervisor().add(Children().lives("a")())


def test_a_supervisor_shows_its_name_strategy_and_children():
    supervisor = Supervisor("rest_for_one", name="the boss")
    supervisor.add(Children().lives("a"))
    assert "the boss" in str(supervisor)
    assert "rest_for_one" in repr(supervisor)
    assert "1 child" in repr(supervisor)


# ---- against a model


def modelled(plans, max_restarts, max_seconds):
    """When each child begins under one_for_one, and when the supervisor ends, and how."""
    begun, restarted, queue, end = [], [], [], 0.0
    for child, (_, lives) in enumerate(plans):
        begun.append((0.0, child))
        heapq.heappush(queue, (lives[0][0], child, 0))
    while queue:
        at, child, life = heapq.heappop(queue)
        restart, lives = plans[child]
        fails, end = lives[life][1], at
        if restart == "temporary" or (restart == "transient" and not fails):
            continue
        restarted = [one for one in restarted if one >= at - max_seconds] + [at]
        if len(restarted) > max_restarts:
            return begun, at, "gave up"
        begun.append((at, child))
        seconds = lives[life + 1][0] if life + 1 < len(lives) else None
        if seconds is None:
            return begun, at, "out of plans"
        heapq.heappush(queue, (at + seconds, child, life + 1))
    return begun, end, "ended"


@st.composite
def plans_of_children(draw):
    """Each life takes a power of two of its own, so no two children end in one moment."""
    plans, bit = [], 0
    for _ in range(draw(st.integers(1, 3))):
        lives = []
        for _ in range(draw(st.integers(1, 5))):
            lives.append((draw(st.integers(1, 8)) + 2.0**-20 * 2**bit, draw(st.booleans())))
            bit += 1
        plans.append((draw(st.sampled_from(["permanent", "transient", "temporary"])), lives))
    return plans


@given(plans=plans_of_children(), max_restarts=st.integers(0, 4), max_seconds=st.integers(1, 20))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_one_for_one_does_what_its_model_does(plans, max_restarts, max_seconds):
    begun, end, how = modelled(plans, max_restarts, max_seconds)
    log = []

    def child(number, lives):
        log.append((now(), number))
        if not lives:
            yield sleep(1e6)
        seconds, fails = lives.pop(0)
        yield sleep(seconds)
        if fails:
            raise KeyError(number)

    def main():
        supervisor = Supervisor(max_restarts=max_restarts, max_seconds=max_seconds)
        for number, (restart, lives) in enumerate(plans):
            supervisor.add(child, number, list(lives), restart=restart)
        try:
            if how == "out of plans":
                with move_on_after(end + 2.0**-21):
                    yield supervisor.run()
            else:
                yield supervisor.run()
        except RuntimeError:
            return now(), "gave up"
        return (end, how) if how == "out of plans" else (now(), "ended")

    with unlogged():
        assert vrun(main()) == (end, how)
    assert log == begun
