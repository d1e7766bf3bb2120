"""The system call protocol: how a task says what it wants.

A task yields a `SystemCall`; the kernel performs it through four methods:

    attempt(task)    take effect now, wholly or not at all; else return PENDING
    arm(waiter)      ask to be told when another attempt may succeed
    disarm(waiter)   undo arm, at once or, returning PENDING, in time; never
                     wakes anybody
    describe()       say what is waited for, for reports

and, where a call that is not made would leave something behind, `discard`.

A call is armed for one *waiter*: the task that yielded it, or the call that it
is a part of (`select` arms its branches for itself). While it is armed, its
`waiter` is set, and it may stand in one wait queue. Whoever makes the call
succeed calls `wake_first` of that queue (or takes it out and calls `wake` or
`fail`), or, where only another attempt can tell, `retry`.

A plain call can come at any moment, also while a call is being armed: from a
finalizer, when garbage is collected. So `arm` looks once more when all is in place,
where a plain call could have made the attempt succeed, and `disarm` of a call that is
armed by half, or not at all, does no harm.

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
from microthreads.places import get_traceback, is_from_us, without_our_frames

if TYPE_CHECKING:
    from microthreads.kernel.kernel import Core
    from microthreads.kernel.task import Task
    from microthreads.runtime.kernel import Kernel

T_co = TypeVar("T_co", covariant=True)


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

    def woken(self, call: SystemCall[Any], value: Any) -> bool:
        """`call`, armed for this waiter, succeeded with `value`, or a `Failure`.

        Returns whether it was taken: not if something else has just ended the wait.
        An error that is raised means that nothing has happened.
        """

    @property
    def room(self) -> int: ...  # how many calls, one in the other, `woken` takes; see `room_for`

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

    def __reduce__(self) -> Any:
        """For another process: with names in place of what lives in this one."""
        on = None if self.on is None else str(self.on)
        return Wait, (self.kind, on, None, self.deadline)


# How errors are asked and changed, whatever their classes make of these names.
get_context = vars(BaseException)["__context__"].__get__
set_context = vars(BaseException)["__context__"].__set__
set_cause = vars(BaseException)["__cause__"].__set__
with_traceback = BaseException.with_traceback


def add_note(error: BaseException, text: str) -> None:
    """Add a note to `error`, if its class takes any."""
    try:
        BaseException.add_note(error, text)
    except BaseException:  # noqa: S110
        pass  # it cannot be changed


AS_IT_IS: Any = object()
MUCH_ROOM = 64  # calls, for a waiter that does not say


class Failure:
    """An error on its way to a task, with the traceback to raise it with.

    Of a value it is asked by `type(value) is Failure`: `isinstance` asks the value as well,
    which may be a proxy that answers with an error.

    The traceback is kept apart since raising an error again, for a second
    joiner, would otherwise add the first joiner's frames to it; the context of an
    error that several may get, since each would write its own into it.
    """

    __slots__ = ("context", "error", "traceback")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.traceback: TracebackType | None = get_traceback(error)
        self.context: Any = AS_IT_IS

    @staticmethod
    def caught(error: BaseException) -> Failure:
        """The failure of `error`, which was just caught; a broken invariant goes on up."""
        if issubclass(type(error), InvariantError) and is_from_us(error):
            raise error
        return Failure(without_our_frames(error))

    def keep(self) -> None:
        """This is a task's outcome: raise it for each joiner as it is now."""
        self.context = get_context(self.error)

    def raised(self) -> BaseException:
        """The error, as it was when the failure was made."""
        error = with_traceback(self.error, self.traceback)
        if self.context is not AS_IT_IS:
            set_context(error, self.context)
        return error


def task_of(call: SystemCall[Any]) -> str:
    """The task that `call` is armed for, as text."""
    return "nobody" if call.waiter is None else str(call.waiter.task)


def room_for(call: SystemCall[Any]) -> int:
    """How much of the stack it may take to wake `call`, to be had beforehand by `headroom`."""
    room: int = getattr(call.waiter, "room", MUCH_ROOM)
    return room


def not_defined(call: SystemCall[Any], method: str) -> NotImplementedError:
    return NotImplementedError(f"class {type(call).__name__} must define `def {method}`")


class SystemCall(Generic[T_co]):
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

    def attempt(self, task: Task[Any]) -> T_co | Literal[Pending.PENDING]:
        """Take effect for `task` and return the result, or `PENDING`, or raise."""
        raise not_defined(self, "attempt(self, task)")

    def arm(self, waiter: Waiter) -> None:
        """Arrange that `wake`, `fail` or `retry` is called when it is time."""
        raise not_defined(self, "arm(self, waiter)")

    def disarm(self, waiter: Waiter) -> Literal[Pending.PENDING] | None:
        """Undo `arm`, in constant time: by default, leave the wait queue.

        A call that cannot be undone at once returns `PENDING`, and calls
        `wake(PENDING)` when it is. It may be asked more than once.
        """
        queue = getattr(self, "queue", None)
        if queue is not None:
            queue.remove(self)
        return None

    def discard(self, kernel: Core) -> None:
        """The call will not be made: let go of what only it would have used.

        It was given up before it was attempted: its task was cancelled, or another
        branch of its `select` went first.
        """

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
    def kernel(self) -> Kernel:
        """The kernel of that task."""
        return self.task.kernel

    def wake(self, value: Any = None) -> None:
        """End the wait with `value`; the call must already be out of its queue."""
        waiter = self.waiter
        if waiter is None:
            raise RuntimeError(f"{self} is not armed for any task: it cannot be woken")
        waiter.woken(self, value)  # if it is not taken, somebody else was faster

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
            if type(value) is Failure:  # its error's traceback may lead to this frame
                del self, value, waiter

    def refuse_second_waiter(self) -> NoReturn:
        """Say that one call cannot be waited for twice at the same time."""
        raise RuntimeError(f"{self!r} is armed already, for {self.task}: make a second one")

    def __await__(self) -> Generator[Any, Any, T_co]:
        if running_kernel() is None:
            raise RuntimeError(f"{self} was awaited outside a kernel: use microthreads.run(main())")
        result: Any = yield self
        if type(result) is Failure:  # raised here, it keeps what is being handled: DOC: design/here
            del self
            try:
                raise result.raised()
            finally:
                del result  # its error's traceback has this frame
        return result  # type: ignore[no-any-return]  # another local is 8 bytes a connection

    __iter__ = __await__

    if not TYPE_CHECKING:  # for those who forgot to yield it; checkers report that themselves

        def __bool__(self) -> bool:  # noqa: PLE0304
            self._not_made("it has no truth value")

        def __enter__(self) -> NoReturn:
            self._not_made("`with` takes its result: with (yield call), or with await call")

        __aenter__ = __enter__

        def __exit__(self, *exc_info: object) -> None:
            """Never reached; Python looks for it before `__enter__` is called."""

        __aexit__ = __exit__

        def __getattr__(self, name: str) -> NoReturn:
            text = "it is a system call; if its result is meant, yield or await it"
            if name == "waiter":
                text = "its __init__ must call super().__init__() (in a dataclass: __post_init__)"
            text = f"{type(self).__name__!r} has no {name!r}: {text}"
            raise AttributeError(text, name=name, obj=self)

    def _not_made(self, problem: str) -> NoReturn:
        raise TypeError(f"{self!r} is a call that has not been made: yield or await it; {problem}")

    def __str__(self) -> str:
        return str(self.describe())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"
