"""The system call protocol: how a task says what it wants.

A task yields a `SystemCall`; the kernel performs it through four methods:

    attempt(task)    take effect now, wholly or not at all; else return PENDING
    arm(waiter)      ask to be told when another attempt may succeed
    disarm(waiter)   undo arm, at once or, returning PENDING, in time; never
                     wakes anybody
    describe()       say what is waited for, for reports

A call is armed for one *waiter*: the task that yielded it, or the call that it
is a part of (`select` arms its branches for itself). While it is armed, its
`waiter` is set, and it may stand in one wait queue. Whoever makes the call
succeed takes it out of that queue and calls `wake`, `fail`, or, where only
another attempt can tell, `retry`.

Invariant: `waiter` is None if and only if the call is not armed.

Read next: waitqueue.py, then kernel.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NoReturn,
    Protocol,
    TypeVar,
)

from microthreads.errors import InvariantError
from microthreads.kernel.current import running_kernel
from microthreads.kernel.routines import without_our_frames

if TYPE_CHECKING:
    from microthreads.kernel.kernel import Core
    from microthreads.kernel.task import Task

T = TypeVar("T")


class Pending(Enum):
    """The type of `PENDING`, what an attempt returns that cannot succeed yet."""

    PENDING = "pending"


PENDING: Final = Pending.PENDING


class Waiter(Protocol):
    """What a call can be armed for: a task, or a call made of calls."""

    @property
    def task(self) -> Task[Any]: ...

    @property
    def kernel(self) -> Core: ...  # of that task

    def woken(self, call: SystemCall[Any], value: Any) -> None:
        """`call`, armed for this waiter, succeeded with `value`, or a `Failure`."""

    def when_armed(self, function: Callable[[], None]) -> None:
        """Call `function` when all is armed that is waited for together with this."""


class Wait:
    """What a parked task waits for, as reports show it.

    Attributes:
        kind: The verb, such as "recv".
        on: The object waited on, or None; its `str` is shown.
        owner: The task that could end the wait, where there is just one.
        deadline: When the wait ends by itself, on the kernel's clock, seconds.
    """

    __slots__ = ("deadline", "kind", "on", "owner")

    def __init__(
        self,
        kind: str,
        on: Any = None,
        owner: Task[Any] | None = None,
        deadline: float | None = None,
    ) -> None:
        self.kind = kind
        self.on = on
        self.owner = owner
        self.deadline = deadline

    def __str__(self) -> str:
        text = self.kind if self.on is None else f"{self.kind} {self.on}"
        if self.owner is None or self.owner is self.on:
            return text
        return f"{text}, {'up to' if self.kind == 'join' else 'owned by'} {self.owner}"

    def __repr__(self) -> str:
        return f"<Wait: {self}>"


class Failure:
    """An error on its way to a task, with the traceback to raise it with.

    The traceback is kept apart since raising an error again, for a second
    joiner, would otherwise add the first joiner's frames to it.
    """

    __slots__ = ("error", "traceback")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.traceback: TracebackType | None = error.__traceback__

    @staticmethod
    def caught(error: BaseException) -> Failure:
        """The failure of `error`, which was just caught; a broken invariant goes on up."""
        if isinstance(error, InvariantError):
            raise error
        return Failure(without_our_frames(error))

    def raised(self) -> BaseException:
        """The error, as it was when the failure was made."""
        return self.error.with_traceback(self.traceback)


class SystemCall(Generic[T]):
    """A request to the kernel; `yield` it, and its result comes back.

    A call may be yielded again once it is done, but by one task at a time.
    Subclasses define `attempt`, `arm`, `disarm` and `describe`, and call
    ``super().__init__()``.
    """

    __slots__ = ("next", "previous", "queue", "waiter")
    next: Any  # its neighbours in the wait queue, while it stands in one
    previous: Any
    queue: Any  # that wait queue

    in_parts: ClassVar[str | None] = None
    """Why `select` must refuse the call: it takes effect in parts."""

    def __init__(self) -> None:
        self.waiter: Waiter | None = None

    def attempt(self, task: Task[Any]) -> T | Literal[Pending.PENDING]:
        """Take effect for `task` and return the result, or `PENDING`, or raise."""
        raise NotImplementedError

    def arm(self, waiter: Waiter) -> None:
        """Arrange that `wake`, `fail` or `retry` is called when it is time."""
        raise NotImplementedError

    def disarm(self, waiter: Waiter) -> Literal[Pending.PENDING] | None:
        """Undo `arm`, in constant time: by default, leave the wait queue.

        A call that cannot be undone at once returns `PENDING`, and calls
        `wake(PENDING)` when it is. It may be asked more than once.
        """
        self.queue.remove(self)
        return None

    def describe(self) -> Wait:
        """What a task parked on this call waits for."""
        return Wait(type(self).__name__.lower())

    @property
    def task(self) -> Task[Any]:
        """The task that this call is armed for."""
        waiter = self.waiter
        if waiter is None:
            raise RuntimeError(f"{self} is not armed for any task")
        return waiter.task

    @property
    def kernel(self) -> Core:
        """The kernel of that task."""
        return self.task.kernel

    def wake(self, value: Any = None) -> None:
        """End the wait with `value`; the call must already be out of its queue."""
        waiter = self.waiter
        if waiter is None:
            raise RuntimeError(f"{self} is not armed for any task: it cannot be woken")
        waiter.woken(self, value)

    def fail(self, error: BaseException) -> None:
        """End the wait by raising `error`; the call must be out of its queue."""
        self.wake(Failure(error))

    def retry(self) -> None:
        """Attempt an armed call again; disarm it and wake if that succeeds."""
        waiter = self.waiter
        if waiter is None:
            return  # an earlier event of the same poll has ended the wait
        value: Any
        try:
            value = self.attempt(waiter.task)
        except BaseException as error:
            value = Failure.caught(error)
        if value is not PENDING:
            self.disarm(waiter)
            waiter.woken(self, value)

    def refuse_second_waiter(self) -> NoReturn:
        """Say that one call cannot be waited for twice at the same time."""
        raise RuntimeError(f"{self!r} is armed already, for {self.task}: make a second one")

    def __await__(self) -> Generator[Any, Any, T]:
        if running_kernel() is None:
            raise RuntimeError(f"{self} was awaited outside a kernel: use microthreads.run(main())")
        result: T = yield self
        return result

    __iter__ = __await__

    # What it is taken for by those who forgot to yield it

    def __bool__(self) -> bool:  # noqa: PLE0304
        self._not_made("it has no truth value")

    def __enter__(self) -> NoReturn:
        self._not_made("`with` takes its result: with (yield call), or with await call")

    __aenter__ = __enter__

    def __exit__(self, *exc_info: object) -> None:
        """Never reached; Python looks for it before `__enter__` is called."""

    __aexit__ = __exit__

    def _not_made(self, problem: str) -> NoReturn:
        raise TypeError(f"{self!r} is a call that has not been made: yield or await it; {problem}")

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{type(self).__name__!r} has no {name!r}: it is a system call; yield or await it "
            "to have its result"
        )

    def __str__(self) -> str:
        return str(self.describe())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"
