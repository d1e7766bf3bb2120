"""No task's doing stops the kernel, or harms an innocent task: a sample of the campaign.

All of it is ``python3 -m tests.hostile``, which takes some two minutes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hostile import (
    __main__ as command,
)
from hostile import (
    alarms,
    calls,
    collector,
    depths,
    errors,
    moments,
    names,
    numbers,
    routines,
    values,
)
from hostile.case import Case, Cases
from hostile.trial import aside

pytestmark = pytest.mark.forgets  # programs that are wrong in every way

ONE_IN = 12  # cases


def harmless(cases: Sequence[Case]) -> None:
    """None of them goes wrong."""
    assert cases
    with aside():
        wrong = {str(case): found[0] for case in cases if (found := case.attempted())}
        gc.collect()
    assert not wrong, "\n".join(f"{case}: {found}" for case, found in wrong.items())


def sample(cases: Callable[[], Cases], one_in: int = ONE_IN) -> list[Case]:
    """Some of the cases, the same each time, and at least one of each call."""
    random, chosen, calls_seen = Random(0), [], set()
    for case in cases():
        if case.call not in calls_seen or random.randrange(one_in) == 0:
            calls_seen.add(case.call)
            chosen.append(case)
    return chosen


def test_a_number_of_whatever_type_harms_nobody(unobserved: None) -> None:
    harmless(sample(numbers.cases))


def test_an_odd_exception_ends_its_task_alone(unobserved: None) -> None:
    harmless(sample(errors.cases))


def test_a_failing_call_of_the_programs_own_harms_nobody(unobserved: None) -> None:
    harmless(sample(calls.cases, 3))


def test_a_failing_routine_of_the_programs_own_harms_nobody(unobserved: None) -> None:
    harmless(sample(routines.cases))


def test_an_odd_value_harms_nobody(unobserved: None) -> None:
    harmless(sample(values.cases, 6))


def test_an_odd_name_harms_nobody_and_reports_come_out(unobserved: None) -> None:
    harmless(sample(names.cases, 3))


def test_a_plain_call_near_the_recursion_limit_is_made_wholly_or_can_be_made_again(
    unobserved: None,
) -> None:
    harmless(sample(depths.cases, 20))


def test_a_plain_call_at_any_moment_is_made_once_and_for_all(unobserved: None) -> None:
    harmless(sample(moments.cases, 6))


def test_a_task_woken_as_the_poller_begins_to_wait_goes_on(unobserved: None) -> None:
    harmless(list(moments.blocking()))


def test_every_task_cleans_up_when_a_signal_handler_raises(unobserved: None) -> None:
    harmless(list(alarms.cases(rounds=4)))


def test_a_plain_call_of_the_collector_harms_nobody(unobserved: None) -> None:
    harmless(sample(lambda: collector.cases(rounds=20), 6))


def test_the_command_prints_a_table_and_says_by_its_status_whether_anything_went_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--only", "numbers: sleep_until"]) == 0
    printed = capsys.readouterr().out
    assert "sleep_until" in printed
    assert "0 went wrong" in printed
    assert command.main(["--only", "no such thing"]) == 2
