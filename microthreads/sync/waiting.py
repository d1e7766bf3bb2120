"""What all of sync/ is made of: a name, tasks that wait in order, a guard.

Whatever wakes or ends is a plain call here (`release`, `set`, `notify`), and
whatever may have to wait returns a system call. So a lock is taken by

    with (yield lock.acquire()):      in a generator
    async with lock:                  in a coroutine

and a plain ``with lock:``, which could not wait, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, Self, TypeVar

from microthreads.calls import Within, check_seconds, discard_all
from microthreads.kernel import SystemCall, Task, WaitQueue

T = TypeVar("T")

FOR_EVER = -1  # what threading takes for "no timeout" at a lock


class Waitable:
    """Something that tasks wait for, first come, first served.

    Attributes:
        name: What reports call it, or None.
        waiters: The calls that wait for it.
    """

    __slots__ = ("__weakref__", "name", "waiters")

    def __init__(self, name: str | None) -> None:
        self.name = None if name is None else str(name)
        self.waiters = WaitQueue()

    def __str__(self) -> str:
        kind = type(self).__name__
        return kind if self.name is None else f"{kind} {self.name!r}"

    def __repr__(self) -> str:
        return f"<{self}>"


class Releasable(Protocol):
    """What a guard releases."""

    def leave(self) -> None: ...


H_co = TypeVar("H_co", bound=Releasable, covariant=True)


class Guard(Generic[H_co]):
    """What acquiring returns: `with` it, once, and it is released at the end of the block."""

    __slots__ = ("_held", "_used")

    def __init__(self, held: H_co) -> None:
        self._held = held
        self._used = False

    def __enter__(self) -> H_co:
        if self._used:
            raise RuntimeError(f"{self} has been used already: acquire again")
        self._used = True
        return self._held

    def __exit__(self, *exc_info: object) -> None:
        self._held.leave()

    async def __aenter__(self) -> H_co:
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        self._held.leave()

    def __repr__(self) -> str:
        return f"<guard of {self._held}>"


class Acquirable(Waitable):
    """What can be acquired and released."""

    __slots__ = ()

    def acquire(self, blocking: bool = True, timeout: Any = None) -> SystemCall[Any]:
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        """Release it at the end of a `with` block."""
        self.release()

    if not TYPE_CHECKING:  # where type checkers report a plain `with` themselves

        def __enter__(self) -> NoReturn:
            raise TypeError(
                f"a plain `with` cannot wait for {self}: write `with (yield lock.acquire()):` "
                "in a generator, `async with lock:` in a coroutine"
            )

        def __exit__(self, *exc_info: object) -> None:
            """Never reached; Python looks for it before `__enter__` is called."""

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.leave()


def limited(call: SystemCall[Any], blocking: bool, timeout: Any) -> SystemCall[Any]:
    """`call` with the limits that `threading` knows; it gives False when they are over.

    Raises:
        ValueError: A timeout for a call that does not block, or a negative one.
    """
    if blocking and timeout in (None, FOR_EVER):
        return call
    try:
        return Within(call, _seconds(blocking, timeout), no)
    except (TypeError, ValueError):
        discard_all([call])
        raise


def _seconds(blocking: bool, timeout: Any) -> float:
    if blocking:
        return check_seconds(timeout, "acquire")
    if timeout not in (None, FOR_EVER):
        raise ValueError("acquire() cannot have a timeout when it is not blocking")
    return 0


def check_timeout(timeout: Any) -> float | None:
    """`timeout`, if it is None or a number of seconds; less than 0 means 0, as in `threading`."""
    if timeout is None:
        return None
    negative = isinstance(timeout, int | float) and timeout < 0
    return 0 if negative else check_seconds(timeout, "wait")


def no() -> bool:
    """What a call gives whose time is over."""
    return False


def call_for(task: Task[Any], function: Callable[[], T]) -> T:
    """Call a function of the program's on behalf of `task`, in its context."""
    context = task.context
    result: T = function() if context is None else context.run(function)
    return result
