"""Blocks of code with a time limit, and blocks that hold cancellation back.

Each is a cancel scope (kernel/scopes.py) with a timer. They are plain `with`
blocks, in generators and coroutines alike.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, NoReturn, Self

from microthreads.calls import check_seconds
from microthreads.errors import Cancelled
from microthreads.kernel import Scope

__all__ = ["move_on_after", "shield", "timeout"]


class _Limited(Scope):
    """A scope that is cancelled at a deadline."""

    __slots__ = ("_deadline", "_struck", "expired", "seconds")

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = check_seconds(seconds, type(self).__name__)
        self.expired = self._struck = False
        self._deadline = math.inf

    @property
    def deadline(self) -> float:
        """When the block is ended, on the kernel's clock, in seconds; it can be set."""
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        if math.isnan(deadline):
            raise ValueError("a deadline must be a time in seconds, got nan")
        self._deadline = deadline
        if self.task is not None:
            timers = self.task.kernel.timers
            timers.cancel(self)
            if deadline <= self.task.kernel.now():
                self.expire()
            elif deadline < math.inf:
                timers.add(deadline, self)

    def __enter__(self) -> Any:
        kernel = self.enter().kernel
        self._deadline = deadline = kernel.now() + self.seconds
        if self.seconds == 0:
            self.expire()
        elif deadline < math.inf:
            kernel.timers.add(deadline, self)
        return self

    def __aenter__(self) -> NoReturn:
        raise TypeError(f"`async with` is not needed for {self}: a plain `with` does it")

    async def __aexit__(self, *exc_info: object) -> None:
        """Never reached; Python looks for it before `__aenter__` is called."""

    def expire(self) -> None:
        self._struck = True
        self.cancel("its time is over")

    def _end(self, error: BaseException | None) -> bool:
        """Leave, and say whether `error` is this scope's own cancellation.

        The block has expired also if it swallowed its `Cancelled`, but not if
        none was ever raised: then what it waited for came first.
        """
        self.leave()
        own = isinstance(error, Cancelled) and error.scope is self
        self.expired = self._struck and (own or (error is None and self.delivered))
        return own

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.seconds})"


class timeout(_Limited):  # noqa: N801  (a public name, used like a function)
    """``with timeout(seconds):`` raises `TimeoutError` when the time is over.

    The call that the block is waiting in is given up, and takes no effect;
    one that has already succeeded is delivered first. While tasks stay ready the
    clock is looked at every 61 resumes, so tasks that compute make it late.

    Args:
        seconds: How long the block may take; 0 ends it at its first yield,
            `math.inf` never.

    Attributes:
        deadline: When the block is ended, on the kernel's clock; it can be moved.
        expired: Whether the block was ended by its deadline.

    Raises:
        TimeoutError: The time is over. Its `__cause__` is the `Cancelled` that
            ended the block.
        ValueError: `seconds` is negative or NaN.
    """

    __slots__ = ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        own = self._end(error)
        if self.expired:
            raise TimeoutError(f"timed out after {self.seconds} s") from error
        return own


class move_on_after(_Limited):  # noqa: N801
    """``with move_on_after(seconds) as scope:`` ends the block when the time is over.

    The program goes on behind the block; `scope.expired` says what happened.

    Args:
        seconds: How long the block may take.

    Attributes:
        deadline: When the block is ended, on the kernel's clock; it can be moved.
        expired: Whether the block was ended by its deadline.

    Raises:
        ValueError: `seconds` is negative or NaN.
    """

    __slots__ = ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return self._end(error)


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
        task = self.enter()
        task.kernel.recheck(task)
        return self

    def held_back(self) -> None:
        """A cancellation has met the shield: its time begins to run."""
        assert self.task is not None
        kernel = self.task.kernel
        if self.timer is None and self.grace < math.inf:
            kernel.timers.add(kernel.now() + self.grace, self)

    def expire(self) -> None:
        """Its time is over: let the cancellation through."""
        assert self.task is not None
        self.shielding = False
        self.task.kernel.recheck(self.task)

    def __exit__(self, *exc_info: object) -> None:
        self.leave()

    def __str__(self) -> str:
        return f"shield({self.grace})"
