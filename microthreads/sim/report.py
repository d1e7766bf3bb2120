"""What came of an exploration, for people to read and for programs to look at.

`str(report)` says what was proved or found, and of a failure each step of the
shortest failing schedule, with the line of the program where it led to, and
how to run it again. `report.check()` is for tests: it raises what was found.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self

from microthreads.runtime.snapshots import short_path
from microthreads.sim.executions import Execution
from microthreads.sim.recorder import Line, Moment

LONGEST_SOURCE = 60  # columns; lines beyond are cut, so that the table stays one
LONGEST_SHOWN = 200  # columns; schedules beyond are left to the report's attribute


class Verdict(Enum):
    """What an exploration has come to."""

    PROVED = "proved"  # every schedule was executed, and none failed
    NOT_FOUND = "not found"  # so many random schedules were, and none failed
    FAILED = "failed"  # one failed
    INCONCLUSIVE = "inconclusive"  # none can be said of these; `Report.reason` says why

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Step:
    """One resume of a task, until its next yield.

    Attributes:
        number: Which step of the execution it was, from 1.
        task: The task's id.
        name: The task's name.
        place: Where the task got to, as ``file:line in function``: its next
            yield, or where it failed; if it returned, the yield it went on from.
        source: The text of that line.
        did: What it did: "yields", "spawns #2 worker", "wakes #1 main", "waits",
            "returns", "fails: ValueError", "is cancelled".
        waits_on: What it waits on since, or "".
        deviates: Whether round robin would have resumed another task.
    """

    number: int
    task: int
    name: str
    place: str
    source: str
    did: tuple[str, ...]
    waits_on: str
    deviates: bool

    def cells(self) -> tuple[str, ...]:
        """What a table shows of it."""
        did = ", ".join(self.did) + (f": {self.waits_on}" if self.waits_on else "")
        mark = "*" if self.deviates else " "
        return f"{self.number:4}{mark}", f"#{self.task} {self.name}", self.place, self.source, did


HEADINGS = ("STEP ", "TASK", "AT", "SOURCE", "THEN")


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an exploration.

    Attributes:
        verdict: What it has come to.
        executions: How many executions the search made. Those that compare,
            shrink and record a schedule are not counted.
        failure: The error that the program failed with, or None.
        schedule: The string that `replay` takes, where there is one schedule to show.
        steps: What happened under it until the failure, step by step.
        reason: Why it is inconclusive, or "".
        deepest: How many steps the longest execution had.
        seconds: How long it all took, in real seconds.
    """

    verdict: Verdict
    executions: int
    failure: BaseException | None = None
    schedule: str | None = None
    steps: tuple[Step, ...] = ()
    reason: str = ""
    deepest: int = 0
    seconds: float = 0.0

    def check(self) -> Self:
        """Return the report if nothing was found; else raise. A plain call, for tests.

        Raises:
            BaseException: The program failed; its own error, with a note that
                shows the schedule step by step.
            AssertionError: The exploration was inconclusive.
        """
        if self.verdict is Verdict.INCONCLUSIVE:
            raise AssertionError(str(self)) from self.failure
        if self.failure is not None:
            add_note(self.failure, self._how())
            raise self.failure
        return self

    def __str__(self) -> str:
        executions, steps = _count(self.executions, "execution"), _count(self.deepest, "step")
        lines = [f"{self.verdict}: {executions}, {steps} at most, {self.seconds:.2f} s"]
        if not __debug__:
            lines.append("assert statements were off (python -O): they cannot have failed")
        if self.reason:
            lines.append(self.reason)
        if self.failure is not None:
            lines.append(f"{type(self.failure).__qualname__}: {self.failure}".rstrip(": "))
        return "\n".join([*lines, *([how] if (how := self._how()) else [])])

    def _how(self) -> str:
        if self.schedule is None:
            return ""
        return described(self.steps, self.schedule)


def described(steps: Sequence[Step], schedule: str) -> str:
    """A schedule step by step, and how to run it again."""
    lines = []
    if steps:
        lines.append("step by step, * where round robin would have resumed another task:")
        lines += _table([HEADINGS, *(step.cells() for step in steps)])
    shown = f'"{schedule}"' if len(schedule) <= LONGEST_SHOWN else "report.schedule"
    return "\n".join([*lines, f"to run it again: replay(program, {shown})"])


def add_note(error: BaseException, note: str) -> None:
    """Add `note` to `error`, unless it has it."""
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def steps_of(execution: Execution) -> tuple[Step, ...]:
    """The steps of a recorded execution."""
    deviations = {point[0] for point in execution.points if point[1]}
    return tuple(
        _step(number, moment, number in deviations)
        for number, moment in enumerate(execution.trace, 1)
    )


def _step(number: int, moment: Moment, deviates: bool) -> Step:
    task, name, line, did, waits_on = moment
    place, source = ("-", "") if line is None else _shown(line)
    return Step(number, task, name, place, source, did, waits_on, deviates)


def _shown(line: Line) -> tuple[str, str]:
    """A line as "file:line in function", and its text."""
    code, number = line
    text = linecache.getline(code.co_filename, number).strip()
    return f"{short_path(code.co_filename)}:{number} in {code.co_name}", text


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    rows = [
        tuple(_cut(cell) if column == 3 else cell for column, cell in enumerate(row))
        for row in rows
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SOURCE else f"{text[: LONGEST_SOURCE - 3]}..."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
