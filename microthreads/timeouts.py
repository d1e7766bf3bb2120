"""Blocks of code that can be cancelled, by a time limit or by hand, or that hold it back.

Each is a cancel scope (kernel/scopes.py), mostly with a timer. They are plain `with`
blocks, in generators and coroutines alike.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from microthreads.calls import check_seconds, check_time
from microthreads.kernel import Scope
from microthreads.kernel.current import headroom
from microthreads.whose import apart, end_with, leave

__all__ = ["CancelScope", "move_on_after", "shield", "timeout"]


class CancelScope(Scope):
    """``with CancelScope() as scope:`` can be ended by ``scope.cancel()``, from anywhere.

    Then the yield that the block is in raises `Cancelled`, and the program goes on behind
    the block. A plain call cancels it: before the block, in it, or from another task.

    Args:
        deadline: When the block is ended, on the kernel's clock (see `now`), in seconds.

    Attributes:
        deadline: The same; it can be moved, before the block and in it.
        expired: Whether the deadline has ended the block.
        cancel_requested: Whether it was cancelled, by hand or by its deadline.
        cancelled_caught: Whether the block was cut short, and so ended quietly.

    Raises:
        ValueError: `deadline` is NaN.
        TypeError: It is not a number.
    """

    __slots__ = ("_deadline", "_struck", "cancelled_caught", "expired", "moved")

    def __init__(self, *, deadline: float = math.inf) -> None:
        super().__init__()
        self._deadline: float | None = check_time(deadline, "CancelScope()")
        self.cancelled_caught = self.expired = self._struck = self.moved = False

    @property
    def deadline(self) -> float:
        """When the block is ended, on the kernel's clock, in seconds; it can be set.

        Raises:
            RuntimeError: It is set when the block has been left.
        """
        return math.inf if self._deadline is None else self._deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        deadline = check_time(deadline, "a deadline")
        if self.left:
            raise RuntimeError(f"the block of {self} has been left: it has no deadline any more")
        headroom(32)  # it may have passed, and cancel the block
        self._deadline = deadline
        self.moved = True
        if self.task is not None:
            self.task.kernel.timers.cancel(self)
            self._set_timer(self.task.kernel.now())

    def __enter__(self) -> Self:
        self._set_timer(self.enter().kernel.now())
        return self

    if not TYPE_CHECKING:  # where type checkers report an `async with` themselves

        def __aenter__(self) -> NoReturn:
            raise TypeError(f"`async with` is not needed for {self}: a plain `with` does it")

        async def __aexit__(self, *exc_info: object) -> None:
            """Never reached; Python looks for it before `__aenter__` is called."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return end_with(self._end(error), error)

    def _set_timer(self, now: float) -> None:
        assert self.task is not None
        deadline = self.deadline
        if deadline <= now:
            self.expire()
        elif deadline < math.inf:
            self.task.kernel.timers.add(deadline, self)

    def expire(self) -> None:
        """Its deadline has come."""
        self._struck = self._struck or not self.cancel_requested
        self.cancel("its time is over")

    def _end(self, error: BaseException | None) -> BaseException | None:
        """Leave, and return what there is in `error` besides this scope's own cancellation.

        The block has expired also if it swallowed its `Cancelled`, or failed because of
        it, but not if none was ever raised: then what it waited for came first.
        """
        leave(self, error)
        self.expired = self._struck and self.delivered
        if error is None:
            return None
        own, rest = apart(error, self)
        self.cancelled_caught = own is not None
        return rest

    def __str__(self) -> str:
        return f"a {type(self).__name__} block"


class _Limited(CancelScope):
    """A scope that is cancelled so many seconds after it was entered."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float | None) -> None:
        Scope.__init__(self)
        self.seconds = seconds
        if seconds is not None:
            self.seconds = check_seconds(seconds, type(self).__name__)
        self.cancelled_caught = self.expired = self._struck = self.moved = False
        self._deadline = None

    def __enter__(self) -> Self:
        kernel = self.enter().kernel
        if self._deadline is not None:  # it was set, and counts
            self._set_timer(kernel.now())
            return self
        seconds = math.inf if self.seconds is None else self.seconds
        self._deadline = deadline = kernel.now() + seconds
        if seconds == 0:
            self.expire()
        elif deadline < math.inf:
            kernel.timers.add(deadline, self)
        return self

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.seconds})"


class timeout(_Limited):  # noqa: N801  (a public name, used like a function)
    """``with timeout(seconds):`` raises `TimeoutError` when the time is over.

    The call that the block is waiting in is given up, and takes no effect;
    one that has already succeeded is delivered first. While tasks stay ready the
    clock is looked at every 61 resumes, so tasks that compute make it late.

    Args:
        seconds: How long the block may take, from when it is entered; 0 ends it at its
            first yield, `math.inf` and None never.

    Attributes:
        deadline: When the block is ended, on the kernel's clock; it can be moved.
        expired: Whether the block was ended by its deadline.
        cancelled_caught: Whether the block was cut short.

    Raises:
        TimeoutError: The time is over. Its `__cause__` is the `Cancelled` that
            ended the block.
        ValueError: `seconds` is negative or NaN.
        TypeError: It is not a number.
    """

    __slots__ = ()

    def __exit__(  # type: ignore[override]  # DOC: typing/blocks
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        rest = self._end(error)
        if rest is None and self.expired:
            raise TimeoutError(f"timed out after {self._time()}") from error
        return error is not None and end_with(rest, error)

    def _time(self) -> str:
        return "its deadline, which was moved" if self.moved else f"{self.seconds} s"


class move_on_after(_Limited):  # noqa: N801
    """``with move_on_after(seconds) as scope:`` ends the block when the time is over.

    The program goes on behind the block; `scope.expired` says what happened.

    Args:
        seconds: How long the block may take, from when it is entered; None and
            `math.inf` for as long as it takes (`CancelScope` says that better).

    Attributes:
        deadline: When the block is ended, on the kernel's clock; it can be moved.
        expired: Whether the block was ended by its deadline.
        cancelled_caught: Whether the block was cut short.

    Raises:
        ValueError: `seconds` is negative or NaN.
        TypeError: It is not a number.
    """

    __slots__ = ()


class shield(Scope):  # noqa: N801
    """``with shield(grace):`` holds cancellation back, for clean-up that must yield.

    What is cancelled outside the block is not raised inside it, for `grace`
    seconds from when the cancellation and the block met; then it is.

    Args:
        grace: How long to hold it back, in seconds; `math.inf` for ever.

    Raises:
        ValueError: `grace` is negative or NaN.
    """

    __slots__ = ("grace",)

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.grace = check_seconds(grace, "shield")

    def __enter__(self) -> Self:
        self.shielding = True
        self.enter()
        return self

    def held_back(self) -> None:
        """A cancellation has met the shield: its time begins to run."""
        assert self.task is not None
        kernel = self.task.kernel
        if self.timer is None and self.grace < math.inf:
            kernel.timers.add(kernel.now() + self.grace, self)

    def expire(self) -> None:
        """Its time is over: let the cancellation through."""
        self.shielding = False
        if self.task is not None:
            self.task.kernel.recheck(self.task)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        leave(self, error)

    def __str__(self) -> str:
        return f"shield({self.grace})"
