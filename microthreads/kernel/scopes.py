"""Cancel scopes: which cancellation reaches a task's next yield.

A scope is a stretch of one task's code that can be cancelled. Scopes nest; the
task itself is the outermost. Cancellation is level-triggered: while a
cancelled scope is open, every yield inside it raises `Cancelled`, so code that
swallows one is told again. A *shield* keeps what is cancelled further out away
from the code inside it, for a while.

`task.cancelled` is the answer the kernel looks at: the outermost cancelled
scope that no shield holds back, or None. It changes only when a scope is
entered, left, cancelled, or a shield breaks; all four end in
`Core.recheck`.

`timeouts.py` makes the scopes that programs use out of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microthreads.errors import Cancelled
from microthreads.kernel.current import current_task, headroom

if TYPE_CHECKING:
    from microthreads.kernel.task import Task


class Scope:
    """A `with` block of one task that can be cancelled by itself.

    It is new until it is entered, open while `task` is set, and `left` for good.
    """

    __slots__ = (
        "cancel_requested", "delivered", "left", "outer", "reason", "shielding", "task", "timer",
    )  # fmt: skip

    def __init__(self) -> None:
        self.task: Task[Any] | None = None  # None again when it is left: it keeps nobody alive
        self.outer: Scope | None = None
        self.cancel_requested = self.left = False
        self.delivered = False  # whether a yield has raised because of it
        self.shielding = False
        self.reason: Any = None
        self.timer: Any = None

    def enter(self) -> Task[Any]:
        """Become the innermost scope of the running task."""
        if self.task is not None or self.left:
            raise RuntimeError(f"{self} has been entered already: make a new one for each block")
        self.task = task = current_task()
        self.outer = task.scope
        task.scope = self
        if self.cancel_requested or self.shielding:
            task.kernel.recheck(task)
        return task

    def leave(self) -> None:
        """Stop being a scope; only the innermost one of the running task should.

        Raises:
            RuntimeError: Another one was to be left first. It has no effect any more, even so.
        """
        task = self.task
        if task is None or task.routine is None:
            return  # it was taken off, or the task was abandoned and is being collected
        if task.scope is not self or task.kernel.current is not task:
            self.take_off()
            raise RuntimeError(
                f"{self} was entered by {task}, and is not its innermost scope: leave scopes "
                "in the task that entered them, in the opposite order"
            )
        self.task, self.left = None, True
        task.scope, self.outer = self.outer, None
        if self.timer is not None:
            task.kernel.timers.cancel(self)
        if self.shielding or task.cancelled is not None:  # else it made no difference
            task.kernel.recheck(task)

    def take_off(self) -> None:
        """Have no effect any more, wherever among the scopes of its task this one stands."""
        task, self.task, self.left = self.task, None, True
        if task is None or task.routine is None:
            return
        task.kernel.timers.cancel(self)
        inner: Any = task.scope
        if inner is self:
            task.scope = self.outer
        while inner is not None:
            if inner.outer is self:
                inner.outer = self.outer
            inner = inner.outer
        self.outer = None
        task.kernel.recheck(task)

    def task_ended(self) -> bool:
        """The task has ended, and this block is still open. Returns whether that is an error."""
        self.take_off()
        return False

    def cancel(self, reason: Any = None) -> None:
        """End the block: raise `Cancelled` at the yield it is in, or the next one."""
        if not self.cancel_requested:
            headroom()
            self.cancel_requested = True
            self.reason = reason
            if self.task is not None:
                self.task.kernel.recheck(self.task)

    def interruption(self, call: Any) -> BaseException:
        """The error to raise at a yield of `call` that this scope has cancelled."""
        self.delivered = True
        return Cancelled(self, self.reason, call)

    def held_back(self) -> None:
        """What is cancelled further out was kept from the code inside this scope."""

    def expire(self) -> None:
        """Its timer is due."""
        self.cancel()

    def __str__(self) -> str:
        return f"a {type(self).__name__} block"


def reaching(task: Task[Any]) -> Any:
    """The outermost cancelled scope that reaches `task`'s next yield, or None.

    The innermost shield that holds one back is told so.
    """
    found = shield = None
    scope = task.scope
    while scope is not None:
        if scope.cancel_requested and shield is not None:
            return _hold_back(shield, found)
        if scope.cancel_requested:
            found = scope
        if scope.shielding and shield is None and not task.kernel.shields_broken:
            shield = scope
        scope = scope.outer
    if not task.cancel_requested:
        return found
    return task if shield is None else _hold_back(shield, found)


def _hold_back(shield: Scope, found: Scope | None) -> Scope | None:
    shield.held_back()
    return found
