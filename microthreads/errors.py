"""Everything that microthreads raises by a name of its own.

Built-in errors are used where one fits: ``TimeoutError`` when a timeout ends a
block, ``ValueError`` and ``TypeError`` for bad arguments, ``OSError`` from the
operating system. The classes here are for what has no built-in name.

This module imports nothing else of microthreads, so that every layer can
import it.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BrokenLockError",
    "BusyError",
    "Cancelled",
    "ClosedError",
    "DeadlockError",
    "ForkedError",
    "IncompleteReadError",
    "InvariantError",
    "LimitExceeded",
]


class Cancelled(BaseException):
    """Raised at a yield inside a cancelled scope; let it pass through.

    A ``BaseException``, so that ``except Exception`` does not swallow it.

    Attributes:
        scope: What was cancelled: a task, or the ``timeout`` or
            ``move_on_after`` block whose deadline passed.
        reason: What was given to ``cancel``; any object, often None.
        call: The system call that was given up. It took no effect, except for
            ``sendall``, which goes out in parts: see ``bytes_sent``.
    """

    def __init__(self, scope: Any = None, reason: Any = None, call: Any = None) -> None:
        super().__init__(scope, reason)
        self.scope = scope
        self.reason = reason
        self.call = call

    def __str__(self) -> str:
        why = "" if self.reason is None else f": {self.reason}"
        return f"{self.scope} was cancelled{why}"

    @property
    def bytes_sent(self) -> int:
        """How many bytes a cancelled ``sendall`` had sent; 0 for other calls."""
        return getattr(self.call, "bytes_sent", 0)


class ClosedError(Exception):
    """The channel or descriptor was closed, before the call or while it waited."""


class BusyError(RuntimeError):
    """Another task is already waiting to use this side of the stream."""


class BrokenLockError(RuntimeError):
    """The task that owned the lock ended without releasing it."""


class LimitExceeded(Exception):  # noqa: N818  (as RecursionError might be called)
    """What was asked for is not within the limit. Nothing is lost: it can be read otherwise."""


class IncompleteReadError(EOFError):
    """The stream ended before what was asked for. What there is can still be read.

    Attributes:
        available: How many bytes can still be read.
    """

    def __init__(self, message: str, available: int) -> None:
        super().__init__(message, available)
        self.available = available

    def __str__(self) -> str:
        return str(self.args[0])


class ForkedError(RuntimeError):
    """This kernel is a copy made by ``os.fork``; only its parent may run it."""


class DeadlockError(RuntimeError):
    """Tasks are waiting, and nothing is left that could ever wake one.

    Attributes:
        snapshot: The tasks as they stood when the deadlock was found, with
            what each waits on, who owns that, and the cycle if there is one.
            Its ``str()`` is the message of the error.
    """

    def __init__(self, snapshot: Any) -> None:
        super().__init__(snapshot)
        self.snapshot = snapshot

    def __str__(self) -> str:
        return f"nothing can wake the tasks that wait\n{self.snapshot}"


class InvariantError(AssertionError):
    """The kernel broke a rule of its own. Please report it, with the task table."""
