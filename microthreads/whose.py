"""Whose cancellation is it? The one rule, for blocks, groups and tasks.

`Cancelled` names the scope or the task that was cancelled. A block is ended by its own,
and lets others through. A task was cancelled if it ends by its own; another task's,
which it got by joining that, is an error of this one's like any other. `except*` makes
a group of a `Cancelled`, so groups are looked into, and what else they hold goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microthreads.errors import Cancelled, text_of
from microthreads.kernel import Failure, Scope, Task
from microthreads.kernel.syscalls import add_note, get_context, set_cause, set_context

Parts = tuple[Cancelled | None, BaseException | None]


def is_of(error: Any, scope: Any) -> bool:
    """Whether `error` is the cancellation of `scope`, by itself."""
    return issubclass(type(error), Cancelled) and Cancelled.scope.__get__(error) is scope


def apart(error: BaseException | None, scope: Any) -> Parts:
    """`scope`'s own cancellation, if it is in `error`, and what there is besides."""
    return _split(error, lambda each: is_of(each, scope))


def split_cancelled(error: BaseException | None) -> Parts:
    """A cancellation of anything, if one is in `error`, and what there is besides."""
    return _split(error, lambda each: issubclass(type(each), Cancelled))


def _split(error: BaseException | None, wanted: Callable[[BaseException], bool]) -> Parts:
    found: Any = error if error is not None and wanted(error) else None
    rest = None if found is not None else error
    if issubclass(type(error), BaseExceptionGroup):
        group: Any = error
        found, others = group.split(wanted)
        rest = error if found is None else others  # `split` makes a new group in any case
        while issubclass(type(found), BaseExceptionGroup):
            found = found.exceptions[0]
    return found, rest


def as_outcome(task: Task[Any], failure: Failure) -> Failure:
    """What `task` has failed with, where that is `Cancelled`, or a group that may hold it."""
    try:
        return _as_outcome(task, failure)
    except BaseException:
        return failure  # a group class of the program's own that does not come apart


def _as_outcome(task: Task[Any], failure: Failure) -> Failure:
    error = failure.error
    own, rest = apart(error, task)
    cancelled, others = split_cancelled(rest)
    if others is not None:
        return Failure(rest) if own is not None and rest is not None else failure
    if own is not None:
        return failure if error is own else Failure(own)
    assert cancelled is not None
    return Failure(cancelled_elsewhere(task, cancelled, error))


def name_of_scope(cancelled: Cancelled) -> str:
    """What was cancelled, in words."""
    return text_of(cancelled).partition(" was cancelled")[0]


def cancelled_elsewhere(
    task: Task[Any], cancelled: Cancelled, error: BaseException
) -> BaseException:
    """The error of a `task` that ends by the cancellation of something else.

    If it was cancelled itself, that is what it is.
    """
    if task.cancel_requested:
        outcome = task.interruption(None)
    else:
        outcome = RuntimeError(
            f"{task} ended by the cancellation of {name_of_scope(cancelled)}, not by its own: "
            "catch Cancelled where it joins that, if that may be cancelled"
        )
    set_cause(outcome, error)
    return outcome


def end_with(rest: BaseException | None, error: BaseException | None) -> bool:
    """Leave a block that ended with `error`, of which `rest` is to go on.

    Returns what `__exit__` does, or raises `rest` if it is a part of `error`.
    """
    if rest is not None and rest is not error:
        context = None if error is None else get_context(error)
        try:
            raise rest
        finally:
            set_context(rest, context)  # `error`, of which it is a part, is not what it comes from
    return rest is not error


def leave(scope: Scope, error: BaseException | None) -> None:
    """Leave `scope`, in the order of blocks.

    If a block inside it is open still, what cut that one's end short is `error`, which goes
    on: it takes what is wrong as a note.

    Raises:
        RuntimeError: It is not the innermost one, or it is left in another task.
    """
    task = scope.task
    is_here = task is not None and task.kernel.current is task
    try:
        scope.leave()
    except RuntimeError as problem:
        if error is None or not is_here:
            raise
        add_note(error, str(problem))
