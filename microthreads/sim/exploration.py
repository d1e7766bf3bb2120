"""One exploration: execute, judge, and go on to the next schedule.

Nothing that is found can be relied on unless a program does the same under the
same schedule. So that is checked, not assumed:

- where a depth-first search repeats choices, the same tasks must be ready, and
  the same one must go on, as the time before;
- one execution in 50, and each one that fails, is repeated twice more and
  recorded, and the two must agree in every step.

If anything differs the report is inconclusive, and says what.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from microthreads.sim.executions import Execution, Program, World
from microthreads.sim.report import Report, Verdict, steps_of
from microthreads.sim.schedules import AtRandom, DepthFirst, trace_difference, unlike, write
from microthreads.sim.shrinking import Shrinker

COMPARE_EVERY = 50  # executions; it costs an eighth of the speed
Progress: TypeAlias = Callable[[int, float], object]


class Exploration:
    """The work of one call of `explore`.

    Args:
        program: What is explored.
        plain: Where it is executed.
        recorded: Where it is executed so that it can be looked at.
        search: Which schedules to take.
        shrink: Whether to look for a shorter failing schedule.
    """

    def __init__(
        self,
        program: Program,
        plain: World,
        recorded: World,
        search: DepthFirst | AtRandom,
        *,
        shrink: bool,
    ) -> None:
        self._program = program
        self._plain = plain
        self._recorded = recorded
        self._search = search
        self._shrink = shrink
        self._executions = self._deepest = 0
        self._stopped: Execution | None = None  # the first that was given up
        self._began = time.monotonic()

    def run(self, most: int, progress: Progress | None) -> Report:
        """Execute until something is found, all schedules have been, or `most`."""
        reported = self._began
        for _ in range(most):
            execution = self._plain.execute(self._search.choices, self._search.pick)
            self._executions += 1
            self._deepest = max(self._deepest, execution.steps)
            report = self._judge(execution)
            if report is not None:
                return report
            if not self._search.advance(execution.points):
                return self._report(Verdict.PROVED)
            if progress is not None and time.monotonic() - reported >= 1.0:
                reported = time.monotonic()
                progress(self._executions, reported - self._began)
        return self._at_bound(most)

    def _judge(self, execution: Execution) -> Report | None:
        """The report, if this execution decides it."""
        departure = self._search.departure(execution.points)
        if departure is not None:
            return self._undetermined(departure, execution)
        if execution.failure is not None:
            return self._failed(execution)
        if execution.stopped is not None:
            self._stopped = self._stopped or execution
            # Depth-first, what comes next are ever more variations of its last steps.
            return self._gave_up(execution) if isinstance(self._search, DepthFirst) else None
        if self._executions % COMPARE_EVERY == 1:
            first = self._recorded.execute(execution.choices)
            departure = unlike(execution, first) or self._unrepeatable(first)
            if departure is not None:
                return self._undetermined(departure, execution)
        return None

    def _failed(self, execution: Execution) -> Report:
        shortest = self._recorded.execute(execution.choices)
        departure = unlike(execution, shortest)
        if departure is None and self._shrink:
            shortest = Shrinker(self._recorded, shortest).run()
        departure = departure or self._unrepeatable(shortest)
        if departure is not None:
            return self._undetermined(departure, execution)
        return self._report(Verdict.FAILED, shortest)

    def _unrepeatable(self, execution: Execution) -> str | None:
        """How a recorded execution differs when it is repeated, in words, or None."""
        again = self._recorded.execute(execution.choices)
        return unlike(execution, again) or trace_difference(execution.trace, again.trace)

    def _undetermined(self, departure: str, execution: Execution) -> Report:
        reason = (
            f"the program is not deterministic: under the same schedule, {departure}. All that "
            "it depends on must be made anew in each execution, and nothing left to chance, "
            "to real time or to other threads"
        )
        return self._report(Verdict.INCONCLUSIVE, execution, reason)

    def _gave_up(self, execution: Execution) -> Report:
        return self._report(Verdict.INCONCLUSIVE, execution, str(execution.stopped))

    def _at_bound(self, most: int) -> Report:
        if self._stopped is not None:
            return self._gave_up(self._stopped)
        if isinstance(self._search, AtRandom):
            return self._report(Verdict.NOT_FOUND)
        reason = (
            f"none of {most} executions failed, and there are more: explore a smaller program, "
            "allow more with most_executions=, or take some at random with runs="
        )
        return self._report(Verdict.INCONCLUSIVE, reason=reason)

    def _report(
        self, verdict: Verdict, execution: Execution | None = None, reason: str = ""
    ) -> Report:
        return Report(
            verdict,
            self._executions,
            failure=None if execution is None else execution.failure,
            schedule=None if execution is None else write(self._program, execution.choices),
            steps=() if execution is None else steps_of(execution),
            reason=reason,
            deepest=self._deepest,
            seconds=time.monotonic() - self._began,
        )
