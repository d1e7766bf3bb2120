"""What is logged about tasks: failures that nobody hears of, and what was left behind.

`logging` is imported when there is something to log (DOC: design/imports).
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microthreads.kernel import Task

if TYPE_CHECKING:
    from logging import Logger

    from microthreads.runtime.snapshots import Snapshot

MANY_NOTES = 16  # an error that is raised again and again does not grow without bound

abandoned: list[Any] = []
"""Routines that would not end: kept, since Python closes one that is collected.

At the end of the program it does so anyway, and here still with all modules in place.
"""
atexit.register(abandoned.clear)


def logger() -> Logger:
    """Where all is logged: the logger "microthreads"."""
    from logging import getLogger  # noqa: PLC0415  (see DOC: design/imports)

    return getLogger("microthreads")


def log_crash(task: Task[Any]) -> None:
    """Log the failure of a task that nobody joins, with its traceback."""
    logger().error("%s failed, and no task joins it", task, exc_info=task.exception())


def crashed(task: Task[Any], on_crash: Callable[[Task[Any]], None]) -> None:
    """Tell `on_crash` of a failure; log both failures if that fails in turn."""
    try:
        on_crash(task)
    except Exception:
        try:
            logger().exception("on_crash failed for %s", task)
            log_crash(task)
        except Exception:  # noqa: S110
            pass  # a log that fails must not stop the kernel


def note_origin(task: Task[Any], error: BaseException) -> None:
    """Add to `error` which task it ended, if it is a kind of error that takes notes."""
    try:
        if len(getattr(error, "__notes__", ())) < MANY_NOTES:
            error.add_note(f"in {task}, spawned at {task.spawned_at}")
    except Exception:  # noqa: S110
        pass  # it is of a kind that takes none


def close_for(task: Task[Any], closing: Any) -> None:
    """Close what was to be closed with `task`; a failure of that is logged."""
    try:
        closing.close()
    except Exception:
        try:
            logger().exception("closing %r with %s failed", closing, task)
        except Exception:  # noqa: S110
            pass  # likewise


def held_by_nobody(task: Task[Any], lock: Any) -> None:
    """Log that `task` has ended without releasing `lock`."""
    try:
        logger().error("%s, spawned at %s, ended without releasing %s", task, task.spawned_at, lock)
    except Exception:  # noqa: S110
        pass  # likewise


def log_stragglers(table: Snapshot, grace: float) -> None:
    """Log the tasks that were cancelled `grace` seconds ago and have not ended."""
    logger().error("abandoned after %s s of grace, still cleaning up:\n%s", grace, table)
