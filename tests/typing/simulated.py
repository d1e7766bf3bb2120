"""explore and replay."""

from __future__ import annotations

from typing import assert_type

from microthreads.observe import Invariants
from microthreads.sim import Report, Step, Verdict, VirtualClock, explore, replay


async def program() -> int:
    return 1


def explored() -> None:
    report = explore(program, runs=100, grace=1.0, observers=[Invariants()])
    assert_type(report, Report)
    assert_type(report.verdict, Verdict)
    assert_type(report.steps, tuple[Step, ...])
    assert_type(report.steps[0].place, str)
    assert_type(report.schedule, str | None)
    assert_type(report.failure, BaseException | None)
    assert_type(replay(program, "schedule"), int)
    assert_type(VirtualClock().now(), float)
