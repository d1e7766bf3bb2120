"""Task: a routine that the kernel runs, with what it needs to go on.

A task is in exactly one state, and the state says which structure holds it
(see `State`). The state is worked out from those structures rather than
stored, so it cannot disagree with them and costs the run loop nothing.

`value` is what the next resume delivers: a result, or a `Failure` to raise.
When the task is done it is the outcome. `callers` holds the routines that wait
for one they yielded, outermost first; `routine` is the one that runs.

A task is the outermost of its own cancel scopes (see scopes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum
from sys import modules
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from microthreads.errors import Cancelled, InvariantError
from microthreads.kernel.contexts import InContext, context_for
from microthreads.kernel.current import headroom
from microthreads.kernel.routines import Routine, frames_of, name_of
from microthreads.kernel.scopes import Scope
from microthreads.kernel.syscalls import PENDING, Failure, Pending, SystemCall, Wait, Waiter
from microthreads.kernel.waitqueue import WaitQueue
from microthreads.places import Place, shown

if TYPE_CHECKING:
    from traceback import FrameSummary

    from microthreads.kernel.kernel import Core
    from microthreads.runtime.kernel import Kernel

T_co = TypeVar("T_co", covariant=True)


class State(Enum):
    """What a task is doing."""

    READY = "ready"  # in the ready queue
    RUNNING = "running"  # in `kernel.current`
    PARKED = "parked"  # in whatever its `waiting_on` is armed with
    DONE = "done"  # in nothing of the kernel's


class Task(Generic[T_co]):
    """A routine being run. `spawn` makes it; `join`, `yield` or `await` waits for it.

    Attributes:
        id: A number, 1 for the first task of its kernel.
        name: What reports call it; by default the routine's name.
        daemon: Whether `run` may end without waiting for it.
        waiting_on: The system call it is parked on, or None.
        closing: What is closed when the task has ended, in whatever way: a
            connection, say. Anything with a `close()`, or None.
        holding: The locks that it owns, in the order in which it took them.
        as_parent: A list of itself, which its children hold in its place, or None. It
            is emptied when the task ends: they must not keep its result alive.
    """

    room: ClassVar[int] = 16  # see Waiter

    callers: list[Routine[Any]] | None
    waiting_on: SystemCall[Any] | None
    joiners: WaitQueue | None
    scope: Scope | None
    holding: dict[Any, None] | None
    value: Any
    cancelled: Any
    closing: Any
    reason: Any

    __slots__ = (
        "__weakref__", "_parent", "_place", "as_parent", "callers", "cancel_requested",
        "cancelled", "closing", "daemon", "holding", "id", "joiners", "kernel", "name", "reason",
        "routine", "scope", "step", "value", "waiting_on",
    )  # fmt: skip

    def __init__(
        self,
        kernel: Core,
        routine: Routine[T_co],
        name: str | None,
        daemon: bool,
        parent: Task[Any] | None,
        place: Place | None,
    ) -> None:
        self.routine: Any = routine  # None when done; Any spares the run loop casts
        self.kernel: Kernel = kernel  # type: ignore[assignment]  # which checkers must show
        self.id = next(kernel.ids)
        try:
            self.name: str = name or routine.__name__  # type: ignore[union-attr]  # as name_of
        except AttributeError:
            self.name = name_of(routine)
        if type(self.name) is not str:
            self.name = str(self.name)  # it may fail here, and nowhere later
        self.daemon = True if daemon else False  # noqa: SIM210  (half the time of bool())
        self._place = place
        # What most tasks never have. One chain takes half as long as a line for each.
        self.callers = self.value = self.waiting_on = self.joiners = self.scope = None
        self.cancelled = self.closing = self.holding = self.reason = None
        self._parent = self.as_parent = None
        self.cancel_requested = False
        if parent is not None:
            if parent.as_parent is None:
                parent.as_parent = [parent]
            self._parent = parent.as_parent
        self.step: Any = routine
        if "_contextvars" in modules or "_decimal" in modules:
            self.step = InContext(context_for(parent), routine)

    @property
    def context(self) -> Any:
        """The context that it runs in, or None."""
        return self.step.context if type(self.step) is InContext else None

    def switch_to(self, routine: Routine[Any]) -> None:
        """Have `routine` run from the next resume on, in the task's context if it has one."""
        self.routine = routine
        context = self.context
        self.step = routine if context is None else InContext(context, routine)

    @property
    def state(self) -> State:
        """What the task is doing, as a `State`."""
        if self.routine is None:
            return State.DONE
        if self.waiting_on is not None:
            return State.PARKED
        return State.RUNNING if self.kernel.current is self else State.READY

    @property
    def done(self) -> bool:
        """Whether the task has ended: returned, failed or been cancelled."""
        return self.routine is None

    @property
    def parent(self) -> Task[Any] | None:
        """The task that spawned it, until either of them is done."""
        return self._parent[0] if self._parent else None

    @property
    def spawned_at(self) -> str:
        """Where it was spawned, as ``file:line in function``."""
        return shown(self._place)

    def result(self) -> T_co:
        """What the task returned.

        Raises:
            RuntimeError: It is not done.
            BaseException: It failed; its own error is raised.
        """
        outcome = self._outcome()
        if type(outcome) is Failure:
            try:
                raise outcome.raised()
            finally:
                del self, outcome  # the error's traceback has this frame
        result: T_co = outcome
        return result

    def exception(self) -> BaseException | None:
        """The error that the task failed with, or None if it returned.

        Raises:
            RuntimeError: It is not done.
        """
        outcome = self._outcome()
        return outcome.raised() if type(outcome) is Failure else None

    def _outcome(self) -> Any:
        if self.routine is not None:
            raise RuntimeError(f"{self} is not done: join it first")
        return self.value

    def cancel(self, reason: Any = None) -> None:
        """Raise `Cancelled` in the task at the yield it is in, or the next one.

        A plain call, also on a task that is done, which it leaves alone. A
        call that has already succeeded is delivered first. Until the task
        ends, each of its yields raises again; see `shield`. A task that has not begun
        begins, and meets the cancellation at its first yield.

        Args:
            reason: Anything; `Cancelled` carries it.
        """
        if self.routine is not None and not self.cancel_requested:
            headroom()
            self.cancel_requested = True
            self.reason = reason
            self.kernel.recheck(self)

    def cancel_soon(self, reason: Any) -> None:
        """Have its next yield raise, if no shield is up; for signal handlers.

        Only sets what a yield looks at, so it can come at any moment. `recheck`
        must follow, at a safe one.
        """
        self.cancel_requested = True
        self.reason = reason
        scope = self.scope
        while scope is not None and not scope.shielding:
            scope = scope.outer
        if scope is None:
            self.cancelled = self

    def interruption(self, call: Any) -> BaseException:
        """The error to raise at a yield of `call` when the task is cancelled."""
        return Cancelled.of_task(self, call)

    def join(self) -> Join[T_co]:
        """A system call that waits for the task to end and returns its result.

        Raises:
            RuntimeError: At the yield: a task joins itself, or closes a circle.
            BaseException: At the yield: the task failed; its own error.
        """
        return Join(self)

    def __await__(self) -> Generator[Any, Any, T_co]:
        return Join(self).__await__()

    __iter__ = __await__

    @property
    def task(self) -> Task[T_co]:
        """Itself: a task is the waiter of the calls it yields."""
        return self

    def woken(self, call: SystemCall[Any], value: Any) -> bool:
        """The call that it is parked on has ended with `value`, or is undone: it is ready.

        The only way back to the ready queue. A task that is not parked on that call
        breaks an invariant, unless something else has ended the wait at this moment.
        """
        if self.waiting_on is not call:
            if call.waiter is None:
                return False
            raise InvariantError(f"{self} was woken, but it is {self.state.value}, not parked")
        if value is PENDING:
            value = Failure(self.cancelled.interruption(call))
        self.waiting_on = None  # first: a finalizer may come in between
        try:
            self.kernel.ready.append(self)
        except BaseException:  # the stack is full
            if self not in self.kernel.ready:
                self.waiting_on = call
            raise
        call.waiter = None
        self.value = value
        if self.kernel.observers:
            for observer in self.kernel.observers:
                observer.woken(self, value)
        return True

    def when_armed(self, function: Callable[[], None]) -> None:
        """Its one call is armed: nothing else is waited for."""
        function()

    def stack(self) -> list[FrameSummary]:
        """Where the task is: its frames, outermost first, as `traceback` has them.

        It reaches through yielded routines, `yield from` and `await`. A task
        that is done has none.
        """
        from traceback import FrameSummary  # noqa: PLC0415  (see DOC: design/imports)

        frames = [
            FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
            for routine in (*(self.callers or ()), self.routine)
            for frame in frames_of(routine)
        ]
        return frames[:-1] if frames and frames[-1].name == "__await__" else frames

    def __str__(self) -> str:
        return f"task #{self.id} {self.name}"

    def __repr__(self) -> str:
        return f"<Task #{self.id} {self.name!r}: {self.state.value}>"


class Join(SystemCall[T_co]):
    """Wait for a task to end; its result, or its error raised."""

    __slots__ = ("target",)

    def __init__(self, target: Task[T_co]) -> None:
        self.waiter = None
        self.target = target

    def attempt(self, task: Task[Any]) -> T_co | Literal[Pending.PENDING]:
        target = self.target
        if target.routine is None:
            outcome: T_co = target.value  # a Failure is raised by whoever gets it
            return outcome
        if target.kernel is not task.kernel:
            raise RuntimeError(f"{target} is a task of another kernel, which cannot be joined here")
        if target is task or (task.joiners and isinstance(target.waiting_on, Join)):
            self._refuse_circle(task)
        return PENDING

    def _refuse_circle(self, task: Task[Any]) -> None:
        """See whether `task` is joined, over however many others, by the one it would join.

        From both ends in turn, so that the shorter way decides: to make a chain of n
        tasks takes n log n steps, in whatever order it is made.
        """
        if self.target is task:
            raise RuntimeError(f"{task} joins itself: that could never end")
        path: list[Task[Any]] = [self.target]  # who joins whom, downwards
        above = [task]  # all that wait for `task`
        while path[-1] is not task:
            waiting_on = path[-1].waiting_on
            if not isinstance(waiting_on, Join) or not above:
                return
            path.append(waiting_on.target)
            above += joining(above.pop())
        circle = " joins ".join(str(member) for member in (task, *path))
        raise RuntimeError(f"this join could never end: {circle}")

    def arm(self, waiter: Waiter) -> None:
        target = self.target
        if target.joiners is None:
            target.joiners = WaitQueue()
        target.joiners.append(self)

    def describe(self) -> Wait:
        return Wait("join", self.target, self.target)


def joining(task: Task[Any]) -> list[Task[Any]]:
    """The tasks that are parked on a join of `task`."""
    return [call.waiter for call in task.joiners or () if type(call.waiter) is Task]
