"""The system calls of groups: spawn and join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from microthreads.calls import Spawn
from microthreads.kernel import (
    PENDING,
    Pending,
    Place,
    Routine,
    SystemCall,
    Task,
    Wait,
    Waiter,
)

if TYPE_CHECKING:
    from microthreads.groups.group import TaskGroup

T = TypeVar("T")


class GroupSpawn(Spawn[T]):
    """Start a task of a group."""

    __slots__ = ("group",)

    def __init__(
        self,
        group: TaskGroup,
        routine: Routine[T],
        name: str | None,
        daemon: bool,
        place: Place,
    ) -> None:
        super().__init__(routine, name, daemon, place)
        self.group = group

    def attempt(self, task: Task[Any]) -> Task[T]:
        group = self.group
        if not group.open or (group.ending and not group.children):
            self.discard(task.kernel)
            why = (
                "it was cancelled, or failed" if group.open else "its block is not entered, or left"
            )
            raise RuntimeError(f"cannot spawn in {group}: {why}")
        # The children of a daemon are daemons to `run`, which would wait for them otherwise.
        daemon = self.daemon or (group.host is not None and group.host.daemon)
        child = task.kernel.start(self.routine, self.name, daemon, task, self.place)
        group.adopt(child, self.daemon)
        return child


class GroupJoin(SystemCall[None]):
    """Wait until all tasks of a group are done."""

    __slots__ = ("group",)

    def __init__(self, group: TaskGroup) -> None:
        self.waiter = None
        self.group = group

    def attempt(self, task: Task[Any]) -> Literal[Pending.PENDING] | None:
        group = self.group
        if task in group.children:
            raise RuntimeError(
                f"{task} joins {group}, and is one of its tasks: it would wait for itself"
            )
        if group.children:
            return PENDING
        keep = task is not group.host
        outcome: None = group.outcome(keep=keep)  # or a Failure, which whoever gets it raises
        return outcome

    def arm(self, waiter: Waiter) -> None:
        self.group.joiners.append(self)
        if not self.group.live:
            self.group.cancel_daemons()

    def describe(self) -> Wait:
        children = self.group.children
        return Wait("join", self.group, next(iter(children)) if len(children) == 1 else None)
