"""The bug zoo: every bug is found, shown and replayed, and its repair is proved.

Run with -s for the table.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from zoo import CLASSICS, ZOO, Pair

from microthreads import DeadlockError
from microthreads.observe import Invariants
from microthreads.sim import Report, Verdict, explore, replay

MOST_SECONDS_TO_FIND = 1.0
MOST_SECONDS_TO_PROVE = 5.0

each_pair = pytest.mark.parametrize("pair", ZOO, ids=[pair.buggy.__name__ for pair in ZOO])


@pytest.fixture(autouse=True)
def invariants() -> Iterator[None]:
    """No invariants are checked here unless a test says so: how long a search takes is a claim."""
    yield


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[Any, ...]]]:
    rows: list[tuple[Any, ...]] = []
    yield rows
    print()
    for row in [("BUG", "FAILS WITH", "FOUND IN", "STEPS", "SHORTEST", "PROOF OF REPAIR"), *rows]:
        print("{:24} {:15} {:>8} {:>6}  {:28} {:>15}".format(*row))


def found_and_proved(pair: Pair) -> tuple[Report, float, Report, float]:
    """What was found and proved, each with its seconds of processor time: cores are shared."""
    began = time.process_time()
    bug = explore(pair.buggy)
    found = time.process_time()
    repair = explore(pair.repaired)
    return bug, found - began, repair, time.process_time() - found


@each_pair
def test_the_bug_is_found_and_its_repair_is_proved(
    pair: Pair, table: list[tuple[Any, ...]]
) -> None:
    bug, seconds_to_find, repair, seconds_to_prove = found_and_proved(pair)
    assert (bug.verdict, type(bug.failure)) == (Verdict.FAILED, pair.failure)
    assert seconds_to_find <= MOST_SECONDS_TO_FIND
    assert repair.check().verdict is Verdict.PROVED
    assert repair.executions > 1
    assert seconds_to_prove <= MOST_SECONDS_TO_PROVE
    kind = type(bug.failure).__name__
    table.append((pair.name, kind, bug.executions, len(bug.steps), bug.schedule, repair.executions))


@each_pair
def test_the_schedule_reproduces_the_bug_at_the_same_line(pair: Pair) -> None:
    report = explore(pair.buggy)
    assert len(report.schedule) <= 80
    with pytest.raises(pair.failure) as again:
        replay(pair.buggy, report.schedule)
    assert type(again.value) is pair.failure
    assert str(again.value) == str(report.failure)
    assert again.value.__notes__[-1] in str(report)


@each_pair
def test_the_bug_does_not_show_under_every_schedule(pair: Pair, vrun: Any) -> None:
    """Else it would be found without looking for it."""

    def fails(seed: int) -> bool:
        random, crashes = Random(seed), list[Any]()
        policy = lambda ready: random.randrange(len(ready))  # noqa: E731
        try:
            vrun(pair.buggy(), policy=policy, on_crash=crashes.append)
        except pair.failure:
            return True
        return bool(crashes)

    assert not all(fails(seed) for seed in range(100))


@each_pair
def test_the_report_names_the_tasks_and_the_lines(pair: Pair) -> None:
    report = explore(pair.buggy)
    text = str(report)
    for fragment in (pair.failure.__name__, "zoo.py:", *pair.shows):
        assert fragment in text
    for step in report.steps:
        assert f"#{step.task} {step.name}" in text
        assert step.place in text


@each_pair
def test_a_deadlock_among_owners_is_shown_with_its_cycle(pair: Pair) -> None:
    report = explore(pair.buggy)
    if not isinstance(report.failure, DeadlockError):
        assert not pair.cycle
        return
    cycle = tuple(task.name for task in report.failure.snapshot.cycle)
    assert cycle == pair.cycle
    assert ("the cycle:" in str(report)) == bool(pair.cycle)
    for name in cycle:
        assert f"{name} waits to " in str(report)


@each_pair
def test_random_schedules_find_the_bug_as_well(pair: Pair) -> None:
    report = explore(pair.buggy, runs=500, seed="zoo")
    assert (report.verdict, type(report.failure)) == (Verdict.FAILED, pair.failure)


@each_pair
def test_the_kernel_keeps_its_rules_while_programs_fail_and_while_they_do_not(pair: Pair) -> None:
    for program in (pair.buggy, pair.repaired):
        report = explore(program, runs=100, seed="rules", observers=[Invariants()])
        assert report.verdict in (Verdict.FAILED, Verdict.NOT_FOUND)
        assert report.failure is None or type(report.failure) is pair.failure


@each_pair
def test_every_bug_says_what_is_wrong(pair: Pair) -> None:
    lines = (pair.buggy.__doc__ or "").strip().splitlines()
    assert len(lines) == 1


def test_there_are_ten_classics_and_ten_more() -> None:
    assert len(CLASSICS) == 10
    assert len({pair.buggy for pair in ZOO} | {pair.repaired for pair in ZOO}) == 2 * len(ZOO)
    assert len(ZOO) >= 20
