"""What is logged about tasks: failures that nobody hears of, and what was left behind.

`logging` is imported when there is something to log (DOC: design/imports).
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from microthreads.errors import printable, text_of
from microthreads.kernel import Task
from microthreads.kernel.syscalls import add_note
from microthreads.places import get_traceback

if TYPE_CHECKING:
    from logging import Logger

    from microthreads.runtime.snapshots import Snapshot

WARNING, ERROR = 30, 40  # as `logging` has them, which is imported when it is needed
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
    log_failure(task.exception(), "%s failed, and no task joins it", task)


def log_failure(error: BaseException | None, text: str, *args: Any, level: int = ERROR) -> None:
    """Log `error` with its traceback, none of which can pass for a line of the log's own.

    What a peer has sent is often part of an error's text.
    """
    log = logger()
    if not log.isEnabledFor(level):
        return
    exc_info: Any = None  # the whole of it, since `logging` asks an error whether it is true
    if error is not None:
        exc_info = (type(error), error, get_traceback(error))
    shown = tuple(printable(text_of(arg)) for arg in args)
    record = log.makeRecord(log.name, level, __file__, 0, text, shown, exc_info)
    if error is not None:
        record.exc_text = indented(error)  # what formatters would make of it
    log.handle(record)


def indented(error: BaseException) -> str | None:
    """An error with its traceback, as Python shows it, each line behind two spaces."""
    from traceback import format_exception  # noqa: PLC0415  (see DOC: design/imports)

    try:
        lines = "".join(format_exception(type(error), error, get_traceback(error))).rstrip("\n")
    except BaseException:  # an error that cannot be shown: formatters have their own way
        return None
    return "\n".join(f"  {printable(line)}" for line in lines.split("\n"))


def told(say: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Say something, if that can be said: what is told of must not stop who tells it."""
    try:
        say(*args, **options)
    except BaseException:  # noqa: S110
        pass  # an error, a name or a log handler of the program's own


def crashed(task: Task[Any], on_crash: Callable[[Task[Any]], object]) -> None:
    """Tell `on_crash` of a failure; log both failures if that fails in turn."""
    try:
        on_crash(task)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as failure:
        told(log_failure, failure, "on_crash failed for %s", task)
        told(log_crash, task)


def note_origin(task: Task[Any], error: BaseException) -> None:
    """Add to `error` which task it ended, if it is a kind of error that takes notes."""
    told(_note_origin, task, error)


def _note_origin(task: Task[Any], error: BaseException) -> None:
    if len(getattr(error, "__notes__", ())) < MANY_NOTES:
        add_note(error, f"in {task}, spawned at {task.spawned_at}")


def note_hint(error: BaseException) -> None:
    """Add to `error` what to do about it, if its text does not say so, and hints.py does."""
    if issubclass(type(error), KINDS_WITH_HINTS):
        told(_note_hint, error)


KINDS_WITH_HINTS = (
    AttributeError,
    BaseExceptionGroup,
    ImportError,
    NameError,
    RuntimeError,
    SyntaxError,
    TypeError,
)


def _note_hint(error: BaseException) -> None:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions[:MANY_NOTES]:
            note_hint(each)
        return
    from microthreads.hints import hint_for  # noqa: PLC0415  (only where it is needed)

    hint = hint_for(error)
    if hint is not None and f"hint: {hint}" not in getattr(error, "__notes__", ()):
        add_note(error, f"hint: {hint}")


def advice_on(tasks: Iterable[Task[Any]]) -> str:
    """What may be the matter with `tasks`, none of which can go on."""
    from microthreads.runtime import advice  # noqa: PLC0415  (only where it is needed)

    try:
        return advice.advice_on(tasks)
    except BaseException:  # what is told must not fail in the telling
        return ""


def close_for(task: Task[Any], closing: Any) -> None:
    """Close what was to be closed with `task`; a failure of that is logged."""
    try:
        closing.close()
    except Exception as error:
        told(log_failure, error, "closing %s with %s failed", repr(closing), task)


def held_by_nobody(task: Task[Any], lock: Any) -> None:
    """Log that `task` has ended without releasing `lock`."""
    text = "%s, spawned at %s, ended without releasing %s"
    told(logger().error, text, task, task.spawned_at, lock)


def log_stragglers(table: Snapshot, grace: float) -> None:
    """Log the tasks that were cancelled `grace` seconds ago and have not ended."""
    logger().error("abandoned after %s s of grace, still cleaning up:\n%s", grace, table)
