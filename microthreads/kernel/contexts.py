"""Contexts: what keeps the values of context variables apart, task by task.

A task gets a copy of its parent's context when it is spawned, as a thread or an
asyncio task would, and runs in it. That costs some 20 ns a resume and 300 bytes,
so tasks have none until `contextvars` has been imported, or `decimal`, which has
such a variable of its own: before that there is nothing to keep apart.

A task's `step` is what is resumed: its routine, or an `InContext` in its place.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microthreads.kernel.task import Task


class InContext:
    """A routine to be resumed in a context: its `send` and `throw`."""

    __slots__ = ("context", "routine", "send")

    def __init__(self, context: Any, routine: Any) -> None:
        self.context = context
        self.routine = routine
        self.send = partial(context.run, routine.send)

    @property
    def throw(self) -> Any:
        """What raises an error in it. No function of ours: its frame would keep the error."""
        return partial(self.context.run, self.routine.throw)


def context_for(parent: Task[Any] | None) -> Any:
    """The context for a new task."""
    if parent is not None and parent.context is not None:
        return parent.context.copy()
    from contextvars import copy_context  # noqa: PLC0415  (see above)

    return copy_context()
