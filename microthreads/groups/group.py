"""TaskGroup: a block of code, and the tasks that must not outlive it.

    with TaskGroup() as group:              async with TaskGroup() as group:
        yield group.spawn(one())                await group.spawn(one())
        yield group.spawn(two())                await group.spawn(two())
        yield group.join()

A group is a cancel scope of the task that opens it, its *host*, and the waiter
of a join of each child. So a child's end comes here as any result comes to a
task, and the kernel knows nothing of groups. When a child fails, its siblings
are cancelled; when all have ended, so is the block, and all failures come out
as an ExceptionGroup.

A plain `with` cannot wait at its end, `async with` can. So in a generator
`group.join()` comes first; a block that is left without it, or by an error,
cancels the children and goes on. The host's task then is not done before they
are: a routine that waits for them is put under its own. So it is, too, when the
host ends inside the block.

Invariant: `children` are the tasks that are not done, and whether each is a
daemon of the group; `live` counts those that are not.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from microthreads.groups.calls import GroupJoin, GroupSpawn
from microthreads.groups.failures import failure_of, of_block, together
from microthreads.groups.rest import Rest, rest_of
from microthreads.kernel import (
    Failure,
    Join,
    Routine,
    Scope,
    SystemCall,
    Task,
    Waiter,
    WaitQueue,
    check_routine,
    place_of_caller,
)
from microthreads.kernel.current import headroom
from microthreads.kernel.syscalls import get_context, set_context
from microthreads.timeouts import shield
from microthreads.whose import apart, end_with, leave

T = TypeVar("T")


class TaskGroup(Scope):
    """A block that its tasks do not outlive; they fail and are cancelled together.

    In a generator: ``with TaskGroup() as group: ...; yield group.join()``. In a
    coroutine: ``async with TaskGroup() as group: ...``, which joins by itself.

    When a task of the group fails, the others are cancelled; when they have
    ended, the block is. A task that is cancelled by itself is no failure.

    Raises:
        ExceptionGroup: At the join, or at the end of the block: tasks failed, or
            the block did; with all of their errors.
        RuntimeError: A plain `with` block was left while tasks run, without a
            join. They have been cancelled.
    """

    __slots__ = (
        "children",
        "dismissed",
        "ending",
        "errors",
        "host",
        "joiners",
        "live",
        "open",
        "raised",
        "rest",
        "unwanted",
    )

    def __init__(self) -> None:
        super().__init__()
        self.host: Task[Any] | None = None  # the task whose block it is, until all is over
        self.children: dict[Task[Any], bool] = {}
        self.live = 0
        self.joiners = WaitQueue()
        self.errors: list[BaseException] = []
        self.raised: BaseException | None = None  # what a join has raised
        self.open = False  # whether the block was entered, and not yet left
        self.ending = False  # whether all that is left has been cancelled
        self.dismissed = False  # whether the daemons have been cancelled
        self.unwanted = False  # whether `cancel` asked for that
        self.rest: Rest | None = None  # what waits for the children, if the block was left

    def spawn(
        self, routine: Routine[T], *, name: str | None = None, daemon: bool = False
    ) -> SystemCall[Task[T]]:
        """A system call that starts `routine` as a task of this group, and returns the `Task`.

        Args:
            routine: A generator or coroutine object, not yet started.
            name: What reports call the task; by default the routine's name.
            daemon: Whether `join` does not wait for it: it is cancelled when all
                others are done.

        Raises:
            TypeError: `routine` is not a routine.
            RuntimeError: At the yield: the block was left, or not entered; or
                the routine has been started.
        """
        check_routine(routine, "spawn")
        return GroupSpawn(self, routine, name, daemon, place_of_caller())

    def join(self) -> SystemCall[None]:
        """A system call that waits until all tasks of the group are done.

        Daemons are cancelled when the others are done, and waited for.

        Raises:
            ExceptionGroup: At the yield: tasks failed; with all of their errors.
        """
        return GroupJoin(self)

    def cancel(self, reason: Any = None) -> None:
        """Cancel all tasks of the group and then the block, which ends quietly. A plain call."""
        headroom(32)
        self._cancel_children(reason)
        self.unwanted = True
        self._settle()

    # What the children do

    def adopt(self, child: Task[Any], daemon: bool) -> None:
        """Make `child`, which was just started, one of the group's."""
        join = Join(child)
        join.waiter = cast("Waiter", self)
        join.arm(join.waiter)
        self.children[child] = daemon
        self.live += not daemon
        self.dismissed = self.dismissed and daemon
        if self.ending or self.dismissed:
            child.cancel(self.reason)

    def woken(self, call: SystemCall[Any], value: Any) -> bool:
        """A child has ended."""
        assert isinstance(call, Join)
        child = call.target
        call.waiter = None
        self.live -= not self.children.pop(child)
        error = failure_of(child, value)
        if self.rest is None or self.rest.begun:
            self.ended(child, error)
        elif error is not None:
            self.rest.report(child)
        self._settle()
        return True

    def ended(self, child: Task[Any], error: BaseException | None) -> None:
        """`child` has ended, with `error` if it failed."""
        if error is not None:
            self.errors.append(error)
            self._cancel_children(f"{child} failed")

    def _cancel_children(self, reason: Any) -> None:
        if not self.ending:
            self.ending = True
            self.reason = reason
            for child in list(self.children):
                child.cancel(reason)

    def _settle(self) -> None:
        """See whether those who join can go on, or the block must end."""
        if self.joiners and not self.live:
            self.cancel_daemons()
        if self.children:
            return
        if self.rest is not None:
            self.rest.groups.pop(id(self), None)
        told = any(armed_for(call) is self.host for call in self.joiners)
        if self.ending and (self.unwanted or not told):
            super().cancel(self.reason)
        if self.joiners:
            outcome = self.outcome(keep=not told)
            while self.joiners:
                self.joiners.wake_first(outcome)
        if self.left:
            self.host = None

    def cancel_daemons(self) -> None:
        """Cancel the daemons, once: nobody else is left."""
        if not self.dismissed:
            self.dismissed = True
            for child in list(self.children):
                child.cancel("the other tasks of its group are done")

    def outcome(self, *, keep: bool) -> Any:
        """What a join gives when all are done. The host is told once, here or at the end."""
        errors = self.errors
        if not keep:
            self.errors = []
        if not errors:
            return None
        raised = together(errors)
        if not keep:
            self.raised = raised
        return Failure(raised)

    # The block

    def __enter__(self) -> Self:
        self.host = self.enter()
        self.open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:  # DOC: typing/blocks
        host = self.host
        if host is None or host.done:
            return False  # it was abandoned, and its generator is being collected
        left = len(self.children)
        self._close(host)
        leave(self, error)
        if not left:
            self.host = None  # it keeps nobody alive
        _, rest = apart(error, self)
        errors = self._failures(rest, host)
        if left and error is None:
            errors.append(_left(left))
        if not errors:
            return end_with(rest, error)
        failed = errors[0] if left and error is None and len(errors) == 1 else together(errors)
        try:
            raise failed from None
        finally:
            set_context(failed, None if error is None else get_context(error))
            del self, error, errors, failed, host, rest, trace  # tracebacks have this frame

    def _failures(self, rest: BaseException | None, host: Task[Any]) -> list[BaseException]:
        """What has failed: the tasks, and the block, with `rest`, if that is to be told beside."""
        errors, self.errors = self.errors, []
        raised, self.raised = self.raised, None
        if rest is None or any(rest is each for each in errors):
            return errors
        if rest is raised:
            return [*errors, rest] if errors else []
        return errors + of_block(rest, host) if errors or isinstance(rest, Exception) else []

    def _close(self, host: Task[Any], untold: bool = False) -> None:
        """The block is over; what still runs is cancelled, and `host` waits for it at its end."""
        self.open = False
        if self.children or untold:
            self._cancel_children("the block of its group was left")
            self.rest = rest_of(host)
            self.rest.groups[id(self)] = self

    def task_ended(self) -> bool:
        if self.host is not None:
            self._close(self.host, bool(self.errors))
        self.take_off()
        return True

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:  # DOC: typing/blocks
        if self.host is None or self.host.done:
            return False  # as `__exit__`
        failure = error
        try:
            if error is None:
                await self.join()
        except BaseException as from_join:
            failure = from_join
        try:
            await self._all_ended()
        except BaseException as given_up:  # even the shield was broken: run() is at its end
            failure = given_up
        try:
            if self.__exit__(None, failure, None):
                return True
            if failure is not error and failure is not None:
                raise failure
            return False
        finally:
            del self, error, failure, trace  # tracebacks have this frame

    async def _all_ended(self) -> None:
        """Cancel what is left, and wait for it, whatever comes."""
        while self.children:
            self._cancel_children("the block of its group was left")
            with shield(math.inf):
                try:
                    await self.join()
                except BaseExceptionGroup as late:
                    self.errors += late.exceptions

    def __str__(self) -> str:
        where = "" if self.host is None else f" of {self.host}"
        return f"TaskGroup{where} ({len(self.children)} running)"

    def __repr__(self) -> str:
        return f"<{self}>"


def armed_for(call: SystemCall[Any]) -> Any:
    """The task that `call` is armed for, or None: what cut its wait short may have left it here."""
    waiter: Any = call.waiter
    while isinstance(waiter, SystemCall):
        waiter = waiter.waiter
    return waiter


def _left(count: int) -> RuntimeError:
    return RuntimeError(
        f"a TaskGroup block was left with {count} of its tasks running, which have been "
        "cancelled: end it with `yield group.join()`, or use `async with`"
    )
