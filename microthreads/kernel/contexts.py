"""Contexts: what keeps the values of context variables apart, task by task.

A task gets a copy of its parent's context when it is spawned, as a thread or an
asyncio task would, and runs in it. That costs some 20 ns a resume and 300 bytes,
so tasks have none until `contextvars` has been imported, or `decimal`, which has
such a variable of its own: before that there is nothing to keep apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from microthreads.kernel.syscalls import Failure

if TYPE_CHECKING:
    from microthreads.kernel.task import Task


T = TypeVar("T")


def context_for(parent: Task[Any] | None) -> Any:
    """The context for a new task."""
    if parent is not None and parent.context is not None:
        return parent.context.copy()
    from contextvars import copy_context  # noqa: PLC0415  (see above)

    return copy_context()


def call_for(task: Task[Any], function: Callable[[], T]) -> T:
    """Call a function of the program's on behalf of `task`, in its context."""
    context = task.context
    result: T = function() if context is None else context.run(function)
    return result


def resume(task: Task[Any], value: Any) -> Any:
    """Send `value` into the task's routine, or raise it there, in the task's context."""
    step = task.routine.send
    if isinstance(value, Failure):
        step, value = task.routine.throw, value.raised()
    return step(value) if task.context is None else task.context.run(step, value)
