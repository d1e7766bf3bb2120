"""The explorer: what it finds and proves, how it says so, and what it refuses."""

from __future__ import annotations

import functools
import logging
import math
import os
import re
import signal
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from helpers import python

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    ClosedError,
    DeadlockError,
    Descriptor,
    Kernel,
    Task,
    current_task,
    join,
    listen,
    now,
    run,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)
from microthreads.observe import Observer
from microthreads.sim import Report, Verdict, VirtualClock, exploration, explore, replay

Gen = Generator[Any, Any, Any]
Program = Callable[[], Gen]


class Counter:
    value = 0


def lost_update(tasks: int) -> Program:
    """Each task reads a counter, yields, and writes one more than it read."""

    def program() -> Gen:
        counter = Counter()

        def bump() -> Gen:
            value = counter.value
            yield
            counter.value = value + 1

        return adding_up(counter, bump, tasks)

    return program


def counted(tasks: int) -> Program:
    """The same without the fault: read and write in one step."""

    def program() -> Gen:
        counter = Counter()

        def bump() -> Gen:
            yield
            counter.value += 1

        return adding_up(counter, bump, tasks)

    return program


def adding_up(counter: Counter, bump: Program, tasks: int) -> Gen:
    started = []
    for number in range(tasks):
        started.append((yield spawn(bump(), name=f"bump {number}")))
    for task in started:
        yield join(task)
    assert counter.value == tasks


def late(delay: int, patience: int) -> Program:
    """A flag is set after so many yields, and looked at after so many."""

    def program() -> Gen:
        flags: list[bool] = []

        def setter() -> Gen:
            for _ in range(delay):
                yield
            flags.append(True)

        def main() -> Gen:
            yield spawn(setter())
            for _ in range(patience):
                yield
            assert flags

        return main()

    return program


def opposite_order() -> Gen:
    """Two tasks that each send first: they wait for one another."""
    left, right = Channel[int](name="left"), Channel[int](name="right")

    def one() -> Gen:
        yield left.send(1)
        yield right.recv()

    def two() -> Gen:
        yield right.send(2)
        yield left.recv()

    def main() -> Gen:
        yield spawn(one())
        yield spawn(two())

    return main()


def spinning() -> Gen:
    def spin() -> Gen:
        while True:
            yield

    return spin()


def yields(times: int) -> Gen:
    for _ in range(times):
        yield


# --- searching all schedules ---------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [2, 3])
def test_a_lost_update_is_found(tasks: int) -> None:
    report = explore(lost_update(tasks))
    assert report.verdict is Verdict.FAILED
    assert isinstance(report.failure, AssertionError)


@pytest.mark.parametrize("tasks", [2, 3])
def test_a_correct_counter_is_proved(tasks: int) -> None:
    report = explore(counted(tasks))
    assert report.verdict is Verdict.PROVED
    assert report.failure is report.schedule is None
    assert report.check() is report


def orders(main: int, children: tuple[int, ...], done: int = 0) -> int:
    """In how many orders so many steps can go, if main's step i lets child i begin."""

    @functools.cache
    def count(made: int, left: tuple[int, ...]) -> int:
        ways = 0
        if made < main:
            ways += count(made + 1, left)
        for child, steps in enumerate(left):
            if steps and made > child:
                ways += count(made, (*left[:child], steps - 1, *left[child + 1 :]))
        return ways or 1

    return count(done, children)


def test_the_independent_count_agrees_with_the_formula() -> None:
    # With main out of the way, two tasks of a and b steps have (a+b)! / (a! b!) orders.
    assert orders(2, (3, 4), done=2) == math.comb(7, 3)


@pytest.mark.parametrize(
    "times", [(0,), (3,), (1, 1), (2, 2), (1, 3), (3, 2), (1, 1, 1), (0, 2, 1)]
)
def test_every_schedule_is_executed_once(times: tuple[int, ...]) -> None:
    logs = []

    def program() -> Gen:
        log: list[int] = []
        logs.append(log)

        def child(number: int, times: int) -> Gen:
            for _ in range(times):
                log.append(number)
                yield
            log.append(number)

        def main() -> Gen:
            for number, each in enumerate(times):
                log.append(-1)
                yield spawn(child(number, each))
            log.append(-1)

        return main()

    report = explore(program)
    # A main step lets one child begin, and then there is one last step.
    expected = orders(len(times) + 1, tuple(each + 1 for each in times))
    assert (report.verdict, report.executions) == (Verdict.PROVED, expected)
    assert len({tuple(log) for log in logs}) == expected
    assert report.deepest == len(times) + 1 + sum(times) + len(times)


def test_a_program_with_one_task_has_one_schedule() -> None:
    assert explore(lambda: yields(5)).check().executions == 1


def test_a_deadlock_is_found_with_its_table() -> None:
    report = explore(opposite_order)
    assert isinstance(report.failure, DeadlockError)
    text = str(report)
    assert "#2 one  parked  send on Channel 'left' (0/0)" in text
    assert "#3 two  parked  send on Channel 'right' (0/0)" in text
    assert "waits: send on Channel 'left' (0/0)" in text


def test_a_failure_that_nobody_joins_counts() -> None:
    def program() -> Gen:
        def fails() -> Gen:
            yield
            raise LookupError("nobody hears")

        def main() -> Gen:
            yield spawn(fails())
            yield from yields(3)

        return main()

    report = explore(program)
    assert isinstance(report.failure, LookupError)
    assert report.steps[-1].did == ("fails: LookupError",)
    with pytest.raises(LookupError, match="nobody hears"):
        replay(program, report.schedule)


def test_what_run_raises_comes_before_a_failure_that_nobody_joins() -> None:
    def program() -> Gen:
        def fails() -> Gen:
            raise LookupError
            yield

        def main() -> Gen:
            yield spawn(fails())
            yield
            raise ArithmeticError

        return main()

    assert isinstance(explore(program).failure, ArithmeticError)


def test_a_cancelled_main_is_a_failure() -> None:
    def main() -> Gen:
        current_task().cancel("enough")
        yield

    report = explore(main)
    assert isinstance(report.failure, Cancelled)
    with pytest.raises(Cancelled, match="enough"):
        report.check()


def test_a_program_that_fails_before_it_makes_a_routine_has_failed() -> None:
    def program() -> Gen:
        raise LookupError("no routine")

    report = explore(program)
    assert (report.verdict, report.steps) == (Verdict.FAILED, ())
    with pytest.raises(LookupError, match="no routine"):
        replay(program, report.schedule)


def test_coroutines_are_explored_as_well() -> None:
    async def main() -> None:
        channel = Channel[int]()
        sender = await spawn(send(channel))
        assert await channel.recv() == 1
        await sender

    async def send(channel: Channel[int]) -> None:
        await channel.send(1)

    assert explore(main).check().executions > 1


def test_a_cancellation_may_come_at_any_moment() -> None:
    """A value is received or it is not: a cancelled receiver never loses one."""
    ends = set()

    def program() -> Gen:
        channel = Channel[int](name="values")
        received: list[int] = []

        def receiver() -> Gen:
            received.append((yield channel.recv()))

        def sender() -> Gen:
            yield channel.send(1)

        def main() -> Gen:
            task = yield spawn(receiver())
            other = yield spawn(sender())
            task.cancel()
            try:
                yield join(task)
            except Cancelled:
                pass
            left = yield select(channel.recv(), join(other))
            ends.add((tuple(received), left))
            assert len(received) + (left[0] == 0) == 1

        return main()

    explore(program).check()
    assert ends == {((1,), (1, None)), ((), (0, 1))}


def test_time_is_virtual_and_begins_anew() -> None:
    def program() -> Gen:
        def sleeper(seconds: float) -> Gen:
            yield sleep(seconds)

        def main() -> Gen:
            assert now() == 0
            assert current_task().id == 1
            yield spawn(sleeper(3600))
            yield spawn(sleeper(1800))
            with pytest.raises(TimeoutError):
                with timeout(7200):
                    yield sleep(86400)
            assert now() == 7200

        return main()

    assert explore(program).check().seconds < 60


def test_equal_deadlines_are_met_in_every_order() -> None:
    orders = set()

    def program() -> Gen:
        log: list[str] = []

        def sleeper(name: str) -> Gen:
            yield sleep(1)
            log.append(name)

        def main() -> Gen:
            tasks = []
            for name in "abc":
                tasks.append((yield spawn(sleeper(name))))
            for task in tasks:
                yield join(task)
            orders.add("".join(log))

        return main()

    explore(program).check()
    assert orders == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_a_straggler_is_left_behind_without_waiting_in_real_time() -> None:
    def program() -> Gen:
        def straggler() -> Gen:
            with shield(1_000_000):
                yield sleep(999_999)

        def main() -> Gen:
            yield spawn(straggler(), daemon=True)
            yield

        return main()

    report = explore(program, grace=0.5).check()
    assert report.executions > 1
    assert report.seconds < 10


@pytest.mark.forgets
def test_one_that_will_not_end_leaves_the_next_execution_alone() -> None:
    def program() -> Gen:
        def stubborn() -> Gen:
            while True:
                try:
                    yield sleep(1)
                except Cancelled:
                    pass

        def main() -> Gen:
            yield spawn(stubborn(), daemon=True)
            yield sleep(0.5)
            assert (current_task().id, now()) == (1, 0.5)

        return main()

    report = explore(program, grace=0.1, most_steps=200)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "200 steps" in report.reason


# --- random schedules ----------------------------------------------------------------------------


def test_random_schedules_find_a_lost_update() -> None:
    report = explore(lost_update(3), runs=100)
    assert report.verdict is Verdict.FAILED


def test_random_schedules_that_do_not_fail_prove_nothing() -> None:
    report = explore(counted(2), runs=70).check()
    assert (report.verdict, report.executions) == (Verdict.NOT_FOUND, 70)


def orders_of(seed: Any, runs: int = 20) -> list[tuple[str, ...]]:
    logs: list[list[str]] = []

    def program() -> Gen:
        logs.append([])

        def child(name: str) -> Gen:
            for _ in range(3):
                logs[-1].append(name)
                yield

        def main() -> Gen:
            for name in "abc":
                yield spawn(child(name))

        return main()

    explore(program, runs=runs, seed=seed)
    return [tuple(log) for log in logs]


def test_random_schedules_are_the_same_for_the_same_seed() -> None:
    assert orders_of(7) == orders_of(7)
    assert orders_of("seven") == orders_of("seven")
    assert orders_of(7) != orders_of(8)
    assert len(set(orders_of(7))) > 10


def test_the_failure_of_a_random_schedule_is_the_same_for_the_same_seed() -> None:
    first, second = (explore(late(2, 4), runs=500, seed=3) for _ in range(2))
    assert first.verdict is Verdict.FAILED
    assert (first.executions, first.schedule, first.steps) == (
        second.executions,
        second.schedule,
        second.steps,
    )


# --- what cannot be decided ----------------------------------------------------------------------


def test_a_bound_on_executions_is_inconclusive() -> None:
    report = explore(counted(3), most_executions=10)
    assert (report.verdict, report.executions) == (Verdict.INCONCLUSIVE, 10)
    assert "none of 10 executions failed, and there are more" in report.reason
    with pytest.raises(AssertionError, match="INCONCLUSIVE: 10 executions"):
        report.check()


def test_a_bound_that_is_just_enough_proves() -> None:
    executions = explore(counted(2)).executions
    assert explore(counted(2), most_executions=executions).verdict is Verdict.PROVED
    assert explore(counted(2), most_executions=executions - 1).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("runs", [None, 3])
def test_a_livelock_is_inconclusive(runs: int | None) -> None:
    report = explore(spinning, runs=runs, most_steps=500)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason == "an execution had not ended after 500 steps: a livelock?"
    assert report.executions == (runs or 1)
    with pytest.raises(RuntimeError, match="500 steps: a livelock"):
        replay(spinning, report.schedule, most_steps=500)


@pytest.mark.forgets
def test_a_livelock_that_will_not_be_cancelled_is_given_up() -> None:
    def main() -> Gen:
        while True:
            try:
                yield
            except Cancelled:
                pass

    report = explore(main, most_steps=100)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.seconds < 5


def test_random_search_goes_on_after_a_livelock_and_may_find_a_failure() -> None:
    def program() -> Gen:
        seen: list[str] = []

        def racer() -> Gen:
            seen.append("racer")
            yield

        def main() -> Gen:
            yield spawn(racer())
            while seen:
                yield
            raise LookupError

        return main()

    reports = [explore(program, runs=30, seed=seed, most_steps=50) for seed in range(10)]
    assert {type(report.failure) for report in reports} == {LookupError}
    assert max(report.executions for report in reports) > 1
    assert explore(program, most_steps=50).verdict is Verdict.INCONCLUSIVE


@pytest.mark.forgets
def test_a_failure_before_a_livelock_counts() -> None:
    def program() -> Gen:
        def spin() -> Gen:
            while True:
                try:
                    yield
                except Cancelled:
                    pass

        def main() -> Gen:
            yield spawn(spin())
            raise LookupError

        return main()

    report = explore(program, most_steps=100)
    assert (report.verdict, type(report.failure)) == (Verdict.FAILED, LookupError)


def test_waiting_for_ever_on_purpose_is_inconclusive() -> None:
    def main() -> Gen:
        yield sleep(math.inf)

    report = explore(main)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "waits for ever for what is outside its world" in report.reason
    assert "#1 main  parked  sleep" in report.reason


def forgetful(change: Callable[[int], Any]) -> Program:
    """A program that does something else each time."""
    calls: list[None] = []

    def program() -> Gen:
        calls.append(None)

        def main() -> Gen:
            yield from change(len(calls))

        return main()

    return program


def test_a_program_that_starts_other_tasks_is_not_deterministic() -> None:
    def change(call: int) -> Gen:
        for number in range(2):
            yield spawn(yields(2), name=f"task {number + call % 2}")

    report = explore(forgetful(change))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "the program is not deterministic" in report.reason
    assert re.search(
        r"step \d was task #2 task 1 in one execution, and task #2 task 0", report.reason
    )


def test_a_program_with_other_numbers_of_tasks_is_not_deterministic() -> None:
    def change(call: int) -> Gen:
        for _ in range(2 + (call > 3)):
            yield spawn(yields(2))

    assert "tasks ready" in explore(forgetful(change)).reason


def test_a_program_that_takes_another_path_is_not_deterministic() -> None:
    def change(call: int) -> Gen:
        if call % 2:
            yield
        else:
            yield  # another line

    reason = explore(forgetful(change)).reason
    assert re.search(r"step 1 was task #1 main at .*test_explorer.py:\d+ \(yields\)", reason)


def test_a_failure_that_does_not_come_again_is_inconclusive() -> None:
    def change(call: int) -> Gen:
        yield
        if call == 1:
            raise LookupError

    report = explore(forgetful(change))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert isinstance(report.failure, LookupError)
    assert "one execution failed with LookupError, and another did not fail" in report.reason
    with pytest.raises(AssertionError, match="not deterministic") as caught:
        report.check()
    assert isinstance(caught.value.__cause__, LookupError)


# --- replay --------------------------------------------------------------------------------------


def failure_of(program: Program, schedule: str | None) -> BaseException:
    assert schedule is not None
    with pytest.raises(BaseException) as caught:
        replay(program, schedule)
    return caught.value


@pytest.mark.parametrize("program", [lost_update(2), lost_update(3), late(2, 4), opposite_order])
@pytest.mark.parametrize("runs", [None, 200])
def test_a_replay_fails_in_the_same_way_a_hundred_times(program: Program, runs: int | None) -> None:
    report = explore(program, runs=runs)
    assert report.schedule is not None
    assert len(report.schedule) <= 80
    expected = report_of(report)
    for _ in range(100):
        error = failure_of(program, report.schedule)
        assert type(error) is type(report.failure)
        assert error.__notes__[-1] == expected


def report_of(report: Report) -> str:
    """What the report says of the schedule."""
    text = str(report)
    return text[text.index("step by step") :]


def test_a_replay_that_does_not_fail_returns_the_result() -> None:
    def program() -> Gen:
        def main() -> Gen:
            task = yield spawn(yields(2))
            yield
            yield join(task)
            return "done"

        return main()

    schedule = failing_form(program)
    assert replay(program, schedule) == "done"
    assert replay(program, f"{schedule}-1.1-2.1") == "done"


def failing_form(program: Program) -> str:
    """The schedule without deviations of a program."""
    report = explore(program, most_steps=1)
    assert report.schedule is not None
    return report.schedule


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_explorer import lost_update, late, opposite_order
from microthreads.sim import explore, replay
for program in (lost_update(3), late(2, 4), opposite_order):
    for runs in (None, 300):
        report = explore(program, runs=runs)
        print(report.executions, report.schedule)
        for step in report.steps:
            print(step)
        try:
            replay(program, report.schedule)
        except BaseException as error:
            print(error.__notes__[-1])
"""


def test_hash_seeds_change_nothing() -> None:
    here = str(Path(__file__).parent)
    outputs = set()
    for seed in ("0", "1", "12345"):
        done = python("-c", SCRIPT.format(tests=here), PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count("to run it again") == 6


@pytest.mark.parametrize(
    "text",
    ["", "mt1", "mt1-", "mt2-0000", "mt1-zzzz", "mt1-0000-", "mt1-0000-1", "mt1-0000-0.1"]
    + [
        "mt1-0000-1.0",
        "mt1-0000-1.1-",
        "mt1-0000-1.-1",
        " mt1-0000",
        "mt1-0000\n",
        "mt1-0000-1.1.1",
    ]
    + ["mt1-0000-1.²", "MT1-0000"],
)
def test_a_malformed_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no schedule: one looks like mt1-"):
        replay(opposite_order, text)


def test_a_schedule_of_another_program_is_refused() -> None:
    schedule = explore(opposite_order).schedule
    with pytest.raises(ValueError, match="is a schedule of another program, or of another version"):
        replay(lost_update(2), schedule)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (
            "-1.7",
            "at step 2 the schedule chooses ready task 7 for its choice 1, and there are only 2",
        ),
        ("-99.1", "there were [0-9] choices, and it makes more"),
        ("-2.1-1.1", "its choice 1 is out of order"),
        ("-2.1-2.1", "its choice 2 is out of order"),
        ("-999999999999.1", "its choice 999999999999 is beyond step 1000"),
    ],
)
@pytest.mark.parametrize("program", [lost_update(2), counted(2)])
def test_a_choice_that_does_not_exist_is_refused(program: Program, end: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replay(program, failing_form(program) + end)


# --- shrinking -----------------------------------------------------------------------------------


def all_failures(program: Program) -> list[tuple[int, int]]:
    """Of every failing schedule, how many steps and deviations: by brute force, without explore."""
    found = []
    prefix: list[int] = []
    while True:
        made: list[tuple[int, int]] = []
        steps = 0

        def policy(ready: list[Task[Any]]) -> int:
            nonlocal steps
            if getattr(ready[0].kernel, "main").done:
                return 0  # it has failed, or not; what is left is clean-up
            steps += 1
            if len(ready) == 1:
                return 0
            made.append((prefix[len(made)] if len(made) < len(prefix) else 0, len(ready)))
            return made[-1][0]

        try:
            run(program(), clock=VirtualClock(), policy=policy)
        except AssertionError:
            found.append((steps, sum(choice > 0 for choice, _ in made)))
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return found
        prefix = [choice for choice, _ in made]
        prefix[-1] += 1


@pytest.mark.parametrize(
    "program", [lost_update(2), lost_update(3), late(1, 1), late(1, 3), late(2, 4), late(3, 6)]
)
@pytest.mark.parametrize("runs", [None, 1000])
def test_the_schedule_shown_is_the_shortest_there_is(program: Program, runs: int | None) -> None:
    report = explore(program, runs=runs)
    assert report.schedule is not None
    size = len(report.steps), report.schedule.count(".")
    assert size == min(all_failures(program))
    assert sum(step.deviates for step in report.steps) == report.schedule.count(".")


def test_without_shrinking_the_first_failure_is_shown() -> None:
    found = [
        explore(late(2, 4), runs=500, seed=seed, shrink=shrink)
        for seed in range(5)
        for shrink in (False, True)
    ]
    for first, shortest in zip(found[::2], found[1::2], strict=True):
        assert first.executions == shortest.executions
        assert len(first.steps) >= len(shortest.steps)
        failure_of(late(2, 4), first.schedule)


def test_shrinking_keeps_to_the_type_of_the_failure() -> None:
    def program() -> Gen:
        log: list[str] = []

        def child() -> Gen:
            log.append("child")
            yield

        def main() -> Gen:
            yield spawn(child())
            if not log:
                raise LookupError  # the shorter one
            yield
            yield
            raise ArithmeticError

        return main()

    found = {type(explore(program, runs=1, seed=seed).failure) for seed in range(20)}
    assert found == {LookupError, ArithmeticError}


# --- the report ----------------------------------------------------------------------------------


def test_the_report_shows_each_step_with_its_source() -> None:
    report = explore(lost_update(2))
    code = lost_update.__code__
    text = str(report)
    assert re.match(r"FAILED: \d+ executions, \d+ steps at most, \d+\.\d\d s\nAssertionError", text)
    assert re.search(
        r"^ +\d+\*? +#2 bump 0 +\S*test_explorer.py:\d+ in bump +yield +yields$", text, re.M
    )
    assert re.search(r"#1 main|#1 adding_up", text)
    assert re.search(r"assert counter.value == tasks +fails: AssertionError$", text, re.M)
    assert text.endswith(f'to run it again: replay(program, "{report.schedule}")')
    step = next(step for step in report.steps if step.name == "bump 0")
    assert step.source == "yield"
    assert int(step.place.split(":")[1].split()[0]) > code.co_firstlineno
    assert [step.number for step in report.steps] == list(range(1, len(report.steps) + 1))


def test_a_failure_is_shown_at_the_line_that_raised_it() -> None:
    def helper() -> None:
        raise LookupError("deep down")

    def main() -> Gen:
        yield
        helper()

    report = explore(main)
    assert report.steps[-1].source == 'raise LookupError("deep down")'
    assert report.steps[-1].place.endswith("in helper")
    assert report.steps[-1].did == ("fails: LookupError",)


def test_steps_say_who_wakes_whom_and_until_when_one_sleeps() -> None:
    def program() -> Gen:
        channel = Channel[int](name="c")

        def receiver() -> Gen:
            yield channel.recv()
            yield sleep(2)
            raise LookupError

        def main() -> Gen:
            yield spawn(receiver(), name="r")
            yield
            yield channel.send(1)

        return main()

    steps = explore(program, shrink=False).steps  # round robin is tried first
    assert [(step.name, *step.did, step.waits_on) for step in steps] == [
        ("main", "spawns #2 r", ""),
        ("r", "waits", "recv on Channel 'c' (0/0)"),
        ("main", "yields", ""),
        ("main", "wakes #2 r", ""),
        ("r", "waits", "sleep until 2 s"),
        ("main", "returns", ""),
        ("r", "fails: LookupError", ""),
    ]


def test_clean_up_after_the_failure_is_not_shown() -> None:
    def program() -> Gen:
        def child() -> Gen:
            try:
                yield sleep(10)
            finally:
                with shield(1_000_000):
                    yield from yields(20)

        def main() -> Gen:
            yield spawn(child())
            yield
            raise LookupError

        return main()

    report = explore(program)
    assert report.steps[-1].did == ("fails: LookupError",)
    assert len(report.steps) < 6


def test_check_raises_the_failure_itself_with_the_schedule_as_a_note() -> None:
    report = explore(lost_update(2))
    for _ in range(2):
        with pytest.raises(AssertionError) as caught:
            report.check()
        assert caught.value is report.failure
        notes = [note for note in caught.value.__notes__ if "to run it again" in note]
        assert notes == [report_of(report)]


def test_a_proof_says_how_much_was_executed() -> None:
    report = explore(counted(2))
    assert re.fullmatch(r"PROVED: [\d,]+ executions, \d+ steps at most, \d+\.\d\d s", str(report))


def test_progress_is_told_about_once_a_second(monkeypatch: Any, capsys: Any) -> None:
    told: list[tuple[int, float]] = []
    ticks = iter(range(100_000))
    monkeypatch.setattr(exploration.time, "monotonic", lambda: next(ticks) / 20)
    explore(counted(2), runs=100, progress=lambda *args: told.append(args))
    assert len(told) >= 3
    assert told[0][0] < told[1][0]
    assert 1 <= told[1][1] - told[0][1] < 2
    assert capsys.readouterr() == ("", "")
    explore(counted(2), runs=100, progress=True)
    assert re.match(r"\d+ executions in \d+ s\n", capsys.readouterr().err)


# --- what is refused, and what is left as it was -------------------------------------------------


@pytest.mark.parametrize("option", ["runs", "most_executions", "most_steps"])
def test_nothing_executed_is_never_a_pass(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} >= 1, got 0"):
        explore(opposite_order, **{option: 0})


def test_a_bound_on_a_search_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="leave it out with runs="):
        explore(opposite_order, runs=1, most_executions=1)


@pytest.mark.parametrize("option", ["clock", "policy", "poller", "on_crash"])
@pytest.mark.parametrize(
    "function", [explore, lambda program, **o: replay(program, "mt1-0000", **o)]
)
def test_what_makes_the_world_cannot_be_replaced(function: Any, option: str) -> None:
    with pytest.raises(TypeError, match=f"takes no {option}="):
        function(opposite_order, **{option: None})


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        explore(opposite_order, colour="red")


def test_a_routine_in_place_of_the_program_is_refused() -> None:
    routine = opposite_order()
    with pytest.raises(TypeError, match=r"such as main itself and not main\(\)"):
        explore(routine)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"explore\(\) needs a generator or coroutine"):
        explore(lambda: 5)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="fresh main routine each time"):
        explore(lambda: routine)


def test_inside_a_kernel_it_is_refused() -> None:
    def main() -> Gen:
        for function in (explore, lambda program: replay(program, "mt1-0000")):
            with pytest.raises(RuntimeError, match="a kernel is running in this thread already"):
                function(opposite_order)
        yield

    run(main())


def test_sockets_and_descriptors_are_refused() -> None:
    def listening() -> Gen:
        yield
        listen("localhost", 0)

    def watching() -> Gen:
        read, write = os.pipe()
        try:
            yield Descriptor(read).readable()
        finally:
            os.close(read)
            os.close(write)

    for program in (listening, watching):
        with pytest.raises(RuntimeError, match="has no sockets and no descriptors"):
            explore(program).check()


def test_observers_and_a_kernel_of_ones_own_making_see_each_execution() -> None:
    class Counting(Observer):
        spawns = 0

        def spawned(self, task: Task[Any]) -> None:
            self.spawns += 1

    counting = Counting()
    report = explore(lambda: yields(1), observers=iter([counting]))
    assert counting.spawns == report.executions + 2  # one was compared


def test_ctrl_c_ends_the_exploration() -> None:
    calls = []

    def program() -> Gen:
        def main() -> Gen:
            calls.append(None)
            yield
            if len(calls) == 20:
                signal.raise_signal(signal.SIGINT)
            yield

        return main()

    with pytest.raises(KeyboardInterrupt):
        explore(program, runs=1000)
    assert len(calls) == 20


def test_ctrl_c_ends_an_exploration_of_what_never_ends() -> None:
    def main() -> Gen:
        yield
        threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
        while True:
            yield

    with pytest.raises(KeyboardInterrupt):
        explore(main, most_steps=1_000_000_000)


def test_a_task_that_raises_keyboard_interrupt_itself_has_failed() -> None:
    def main() -> Gen:
        yield
        raise KeyboardInterrupt

    assert isinstance(explore(main).failure, KeyboardInterrupt)


def test_nothing_is_logged_and_everything_is_put_back(caplog: Any) -> None:
    logger = logging.getLogger("microthreads")
    filters = list(logger.filters)

    def program() -> Gen:
        def straggler() -> Gen:
            with shield(1_000_000):
                yield sleep(100)

        def main() -> Gen:
            yield spawn(straggler(), daemon=True)
            yield
            logging.getLogger("mine").error("my own")

        return main()

    explore(program, grace=0.1).check()
    assert {record.name for record in caplog.records} == {"mine"}
    assert logger.filters == filters


def test_a_thousand_executions_open_no_descriptors() -> None:
    before = len(os.listdir("/proc/self/fd"))
    explore(counted(2), runs=1000)
    explore(opposite_order)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_kernel_works_as_ever_afterwards() -> None:
    explore(lost_update(2))
    with Kernel() as kernel:
        assert kernel.run(yields(3)) is None
    assert microthreads.run(closes()) == "closed"


def closes() -> Gen:
    channel = Channel[int]()
    channel.close()
    try:
        yield channel.recv()
    except ClosedError:
        return "closed"
