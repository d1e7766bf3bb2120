"""All tasks at one moment: what each waits on, who owns that, where it stands, and the cycle.

It serves the deadlock report, the log of stragglers, the second Ctrl-C, the report of a
broken invariant and `Kernel.snapshot()`; tables.py makes it a table.

There may be very many tasks. Of each is kept what tells the moment and costs little: its
state, its `Wait`, its line. What the object waited on is called may cost much (a socket asks
the system for its addresses) and is the program's own code: it is asked of those alone that
the table shows, at once, since objects change, and of the others when somebody looks.

Nothing that a call, an object or a name of the program's own does gets out of here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from types import FrameType
from typing import Any

from microthreads.errors import kind_of, text_of
from microthreads.kernel import Place, State, SystemCall, Task, Wait
from microthreads.kernel.routines import frames_of
from microthreads.places import is_ours, shown
from microthreads.runtime.tables import columns, shown_of, table


@dataclass(frozen=True)
class TaskInfo:
    """One task at the moment of the snapshot.

    Attributes:
        id: Its number.
        name: Its name.
        state: What it was doing.
        wait: What it waited for, or None if it was not parked.
        waits_on: `wait` in words. Those that a long table does not show are made when they
            are asked for, from the objects as they are by then.
        owner: The id of the task that owns what it waited on, or None.
        place: The line of the program it stood at, as ``file:line in function``; of a
            task that is all the library's, the line that spawned it.
        spawned_at: Where it was spawned, likewise.
        daemon: Whether it was a daemon.
        parent: The id of the task that spawned it, if that was alive, or None.
    """

    id: int
    name: str
    state: State
    wait: Wait | None
    owner: int | None
    place: str
    spawned_at: str
    daemon: bool
    parent: int | None
    alike: tuple[Any, ...] = field(repr=False, compare=False)  # what one group has in common

    @cached_property
    def waits_on(self) -> str:
        """`wait` in words, or an empty string."""
        return "" if self.wait is None else text_of(self.wait)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, where the objects are not."""
        return {**vars(self), "waits_on": self.waits_on}

    def __str__(self) -> str:
        return f"task #{self.id} {self.name}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tasks of a kernel at one moment.

    Its ``str()`` is a table, no wider than the terminal. Of more than 30 tasks, those
    that do the same at the same line are counted, and three of them shown.

    Attributes:
        tasks: The tasks, by id.
        cycle: The tasks that wait for one another in a circle, or an empty
            tuple; each waits for something that the next one owns, and the
            last for something of the first.
    """

    tasks: tuple[TaskInfo, ...]
    cycle: tuple[TaskInfo, ...]

    def __str__(self) -> str:
        return table(self.tasks, self.cycle, columns())


def take(tasks: Iterable[Task[Any]]) -> Snapshot:
    """A snapshot of `tasks`."""
    lines = Lines()
    infos = {task.id: _info(task, lines) for task in sorted(tasks, key=lambda task: task.id)}
    snapshot = Snapshot(tuple(infos.values()), _cycle(infos))
    for info in shown_of(snapshot.tasks, snapshot.cycle):
        _ = info.waits_on  # made now: soon the objects are others
    return snapshot


def _info(task: Task[Any], lines: Lines) -> TaskInfo:
    call = task.waiting_on
    wait = None if call is None else _described(call)
    state, place, parent = task.state, lines.place_of(task), task.parent
    return TaskInfo(
        id=task.id,
        name=text_of(task.name),
        state=state,
        wait=wait,
        owner=wait.owner.id if wait is not None and type(wait.owner) is Task else None,
        place=place,
        spawned_at=lines.spawned_at(task._place),
        daemon=task.daemon,
        parent=None if parent is None else parent.id,
        alike=(id(state), id(type(call)), id(type(None if wait is None else wait.on)), place),
    )


def _described(call: SystemCall[Any]) -> Wait:
    try:
        wait = call.describe()
        if type(wait) is not Wait:
            wait = Wait(wait.kind, wait.on, wait.owner, wait.deadline)
    except BaseException:  # a call of the program's own
        return Wait(kind_of(call))
    return wait


class Lines:
    """Where tasks stand, in words. Many stand at few lines, and each is looked up once."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, int], str] = {}  # by the id of the code, and the number
        self._places: dict[tuple[int, int], tuple[str, str]] = {}  # by that, and how far in

    def place_of(self, task: Task[Any]) -> str:
        """The innermost line of `task` that is the program's own.

        A task that is all the library's stands where it was spawned; if that is in the
        library, too, then where the task stands that spawned it.
        """
        while True:
            frame, place, parent = _innermost(task), task._place, task.parent
            if frame is not None:
                return self._line_of(frame)
            if place is None:
                return "-"
            if parent is None or not is_ours(place[0]):
                return self._both(place)[0]
            task = parent

    def spawned_at(self, place: Place | None) -> str:
        """As `Task.spawned_at` has it."""
        return shown(None) if place is None else self._both(place)[1]

    def _line_of(self, frame: FrameType) -> str:
        code, line = frame.f_code, frame.f_lineno
        key = id(code), line
        if key not in self._lines:
            self._lines[key] = f"{short_path(code.co_filename)}:{line} in {code.co_name}"
        return self._lines[key]

    def _both(self, place: Place) -> tuple[str, str]:
        """A place with its path made short, and with all of it."""
        key = id(place[0]), place[1]
        if key not in self._places:
            path, whole = place[0].co_filename, shown(place)
            self._places[key] = short_path(path) + whole[len(path) :], whole
        return self._places[key]


def _innermost(task: Task[Any]) -> FrameType | None:
    """The innermost frame of `task` that is the program's own, or None."""
    own = _own_of(_running, task) if task.state is State.RUNNING else None
    for routine in chain((task.routine,), reversed(task.callers or ())):
        own = own or _own_of(frames_of, routine)
    return own


def _own_of(frames: Callable[[Any], Iterable[FrameType]], of: Any) -> FrameType | None:
    own = None
    try:
        for frame in frames(of):
            if not is_ours(frame.f_code):
                own = frame
    except BaseException:  # noqa: S110
        pass  # a routine of the program's own
    return own


def _running(task: Task[Any]) -> list[FrameType]:
    """The frames that the running task's routine has called, outermost first.

    While a generator runs, it does not say to which other one it delegates.
    """
    frame = sys._current_frames().get(getattr(task.kernel, "thread", None) or 0)
    outermost, above = next(frames_of(task.routine), None), []
    while frame is not None and frame is not outermost:
        above.append(frame)
        frame = frame.f_back
    return above[::-1] if frame is not None else []


def short_path(path: str) -> str:
    """`path`, relative to the working directory where that is shorter."""
    try:
        return min(os.path.relpath(path), path, key=len)
    except (OSError, ValueError):  # no working directory any more, or another drive
        return path


def _cycle(infos: dict[int, TaskInfo]) -> tuple[TaskInfo, ...]:
    """The circle of owners with the lowest task, starting from that.

    Each task is come by once: where one was come by before, either this walk
    has closed a circle, or an earlier one has gone on from there.
    """
    come_from: dict[int, int] = {}  # on the walk from which task each was come by
    lowest: list[int] = []
    for start in infos:
        member: int | None = start
        while member in infos and member not in come_from:
            come_from[member] = start
            member = infos[member].owner
        if member is not None and come_from.get(member) == start:
            lowest.append(min(_round(infos, member)))
    return tuple(infos[member] for member in _round(infos, min(lowest))) if lowest else ()


def _round(infos: dict[int, TaskInfo], first: int) -> list[int]:
    """The circle that `first` is a member of, from there."""
    circle, member = [first], infos[first].owner
    while member is not None and member != first:
        circle.append(member)
        member = infos[member].owner
    return circle
