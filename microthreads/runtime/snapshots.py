"""The table of all tasks: at one moment, what each waits on, who owns that, and the cycle.

It serves the deadlock report, the second Ctrl-C, the report of a broken invariant and
`Kernel.snapshot()`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from microthreads.errors import text_of
from microthreads.kernel import State, SystemCall, Task, Wait
from microthreads.kernel.routines import PACKAGE

MANY_ROWS = 100  # of a table; its snapshot has all tasks


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """One task at the moment of the snapshot.

    Attributes:
        id: Its number.
        name: Its name.
        state: What it was doing.
        wait: What it waited for, or None if it was not parked.
        waits_on: `wait` in words.
        owner: The id of the task that owns what it waited on, or None.
        place: The line of the program it stood at, as ``file:line in function``.
        spawned_at: Where it was spawned, likewise.
        daemon: Whether it was a daemon.
        parent: The id of the task that spawned it, if that was alive, or None.
    """

    id: int
    name: str
    state: State
    wait: Wait | None
    waits_on: str
    owner: int | None
    place: str
    spawned_at: str
    daemon: bool
    parent: int | None

    def __str__(self) -> str:
        return f"task #{self.id} {self.name}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tasks of a kernel at one moment.

    Attributes:
        tasks: The tasks, by id.
        cycle: The tasks that wait for one another in a circle, or an empty
            tuple; each waits for something that the next one owns, and the
            last for something of the first.
    """

    tasks: tuple[TaskInfo, ...]
    cycle: tuple[TaskInfo, ...]

    def __str__(self) -> str:
        rows = [("TASK", "STATE", "WAITS ON", "AT")]
        rows += [
            (
                f"#{task.id} {task.name}{' (daemon)' * task.daemon}",
                task.state.value,
                task.waits_on or "-",
                task.place,
            )
            for task in self.tasks[:MANY_ROWS]
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            "  ".join(
                [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]
            )
            for row in rows
        ]
        if len(self.tasks) > MANY_ROWS:
            lines.append(f"... and {len(self.tasks) - MANY_ROWS:,} more tasks")
        if self.cycle:
            lines.append("the cycle:")
            lines += [f"  {task} waits to {task.waits_on}" for task in self.cycle]
        return "\n".join(f"  {line}" for line in lines)


def take(tasks: Iterable[Task[Any]]) -> Snapshot:
    """A snapshot of `tasks`."""
    infos = {task.id: _info(task) for task in sorted(tasks, key=lambda task: task.id)}
    return Snapshot(tuple(infos.values()), _cycle(infos))


def _info(task: Task[Any]) -> TaskInfo:
    wait = None if task.waiting_on is None else _described(task.waiting_on)
    return TaskInfo(
        id=task.id,
        name=task.name,
        state=task.state,
        wait=wait,
        waits_on="" if wait is None else text_of(wait),
        owner=None if wait is None else getattr(wait.owner, "id", None),
        place=place_of(task),
        spawned_at=task.spawned_at,
        daemon=task.daemon,
        parent=None if task.parent is None else task.parent.id,
    )


def _described(call: SystemCall[Any]) -> Wait:
    try:
        return call.describe()
    except BaseException:  # a call of the program's own
        return Wait(type(call).__name__)


def place_of(task: Task[Any]) -> str:
    """The innermost line of `task` that is the program's own, not the library's."""
    frames = task.stack()
    own = [frame for frame in frames if not frame.filename.startswith(PACKAGE)]
    for frame in reversed(own or frames):
        return f"{short_path(frame.filename)}:{frame.lineno} in {frame.name}"
    return "-"


def short_path(path: str) -> str:
    """`path`, relative to the working directory where that is shorter."""
    try:
        return min(os.path.relpath(path), path, key=len)
    except (OSError, ValueError):  # no working directory any more, or another drive
        return path


def _cycle(infos: dict[int, TaskInfo]) -> tuple[TaskInfo, ...]:
    """The first circle of owners, starting from its lowest task."""
    for start in infos:
        path = [start]
        while True:
            owner = infos[path[-1]].owner
            if owner == start:
                return tuple(infos[member] for member in path)
            if owner is None or owner not in infos or owner in path:
                break
            path.append(owner)
    return ()
