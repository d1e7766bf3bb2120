"""What is kept of an execution: for each step, which task made it and where it got to.

A step is one resume of a task, until its next yield. Its *place* is the line of
the program where it left the task: at its next yield, where it failed, or, if
it returned, at the yield that it went on from. Steps after the program's
failure are clean-up, and are not kept.

Moments are kept raw, since most of them are only compared: two executions are
the same if all but the last part of their moments is equal. Text is made of
them in report.py.
"""

from __future__ import annotations

from types import CodeType
from typing import Any, TypeAlias

from microthreads.errors import Cancelled
from microthreads.kernel import SystemCall, Task
from microthreads.kernel.routines import frames_of
from microthreads.observe import Observer
from microthreads.places import is_ours
from microthreads.runtime import Kernel

Line: TypeAlias = tuple[CodeType, int]

Moment: TypeAlias = tuple[int, str, Line | None, tuple[str, ...], str]
"""A step: (task's id, task's name, where it got to, what it did, what it waits on).

The last may show an address, so it is left out of comparisons.
"""


class Recorder(Observer):
    """Keeps the steps of one execution after the other: `begin`, run, `end`."""

    def __init__(self) -> None:
        self._kernel: Kernel | None = None
        self._moments: list[Moment] = []
        self._lines: dict[int, Line | None] = {}  # where each task stood last
        self._task: Task[Any] | None = None  # whose step it is
        self._did: list[str] = []
        self._waits_on = ""

    @property
    def steps(self) -> int:
        """How many steps there have been, with the one that goes on."""
        return len(self._moments) + (self._task is not None)

    def begin(self, kernel: Kernel) -> None:
        """An execution on `kernel` is about to begin."""
        self._kernel = kernel
        self._moments, self._lines, self._task = [], {}, None

    def end(self) -> list[Moment]:
        """The execution is over; its steps."""
        self._finish_step()
        return self._moments

    def resumed(self, task: Task[Any]) -> None:
        self._finish_step()
        if self._kernel is None or self._kernel.ending is not None:
            return
        self._task, self._did, self._waits_on = task, [], ""
        if task.id not in self._lines:
            self._lines[task.id] = line_of(task)

    def _finish_step(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        if not task.done:
            self._lines[task.id] = line_of(task)
        did = tuple(self._did) or ("yields",)
        self._moments.append((task.id, task.name, self._lines[task.id], did, self._waits_on))

    def spawned(self, task: Task[Any]) -> None:
        if self._task is not None:
            self._did.append(f"spawns #{task.id} {task.name}")

    def woken(self, task: Task[Any], value: Any) -> None:
        if self._task is not None and task.kernel.current is self._task:
            self._did.append(f"wakes #{task.id} {task.name}")

    def parked(self, task: Task[Any], call: SystemCall[Any]) -> None:
        if task is self._task and task.waiting_on is call:
            self._did.append("waits")
            self._waits_on = _in_words(call)

    def ended(self, task: Task[Any]) -> None:
        if task is not self._task:
            return
        error = task.exception()
        if error is None:
            self._did.append("returns")
        elif isinstance(error, Cancelled) and error.scope is task:
            self._did.append("is cancelled")
        else:
            self._did.append(f"fails: {type(error).__name__}")
            self._lines[task.id] = _line_of_error(error) or self._lines[task.id]


def line_of(task: Task[Any]) -> Line | None:
    """The innermost line of `task` that is the program's own, not the library's."""
    frames = [
        frame for routine in (*(task.callers or ()), task.routine) for frame in frames_of(routine)
    ]
    for frame in reversed([each for each in frames if not is_ours(each.f_code)] or frames):
        return frame.f_code, frame.f_lineno
    return None


def _line_of_error(error: BaseException) -> Line | None:
    found, trace = None, error.__traceback__
    while trace is not None:
        if not is_ours(trace.tb_frame.f_code):
            found = trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next
    return found


def _in_words(call: SystemCall[Any]) -> str:
    try:
        wait = call.describe()
        return str(wait) if wait.deadline is None else f"{wait} until {wait.deadline:g} s"
    except Exception:  # a call of the program's own, and an observer must not raise
        return type(call).__name__
