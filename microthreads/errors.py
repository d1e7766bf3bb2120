"""Everything that microthreads raises by a name of its own.

Built-in errors are used where one fits: ``TimeoutError`` when a timeout ends a
block, ``ValueError`` and ``TypeError`` for bad arguments, ``OSError`` from the
operating system. The classes here are for what has no built-in name.

When it runs, this module imports nothing else of microthreads, so that every layer can
import it.
"""

from __future__ import annotations

from _weakref import ref  # `weakref` takes its time to import
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microthreads.runtime.snapshots import Snapshot

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


def text_of(thing: Any) -> str:
    """``str(thing)``, or its kind if that fails: what is told must not fail in the telling."""
    try:
        return plain(str(thing))
    except BaseException:
        return f"<{kind_of(thing)} that cannot be shown>"


def kind_of(thing: Any) -> str:
    """The name of its class, whatever a metaclass makes of the word."""
    return plain(name_of_class(type(thing)))


name_of_class = vars(type)["__name__"].__get__
plain = str.__str__  # of a class derived from `str`, whose methods may do anything: a string


def printable(text: str) -> str:
    """`text` in one line, every character that is not printable escaped, as a log needs it.

    What a peer has sent must not write lines of its own into a log, nor sequences that
    a terminal obeys.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class Cancelled(BaseException):
    """Raised at a yield inside a cancelled scope; let it pass through.

    A ``BaseException``, so that ``except Exception`` does not swallow it.

    Attributes:
        scope: What was cancelled: a task, or the block (``timeout``, ``CancelScope``,
            a group) that was. A task is not kept alive by it: None when it is gone.
        reason: What was given to ``cancel``; any object, often None.
        call: The system call that was given up. It took no effect, except for
            ``sendall``, which goes out in parts: see ``bytes_sent``.
    """

    def __init__(self, scope: Any = None, reason: Any = None, call: Any = None) -> None:
        super().__init__()
        self._scope = scope
        self.reason = reason
        self.call = call

    _scope: Any = None
    _task: tuple[int, str] | None = None  # the number and name of a task that was cancelled
    reason: Any = None
    call: Any = None

    @property
    def scope(self) -> Any:
        """What was cancelled."""
        scope = self._scope
        return scope() if type(scope) is ref else scope

    @classmethod
    def of_task(cls, task: Any, call: Any) -> Cancelled:
        """The cancellation of `task`, at a yield of `call`."""
        error = cls(ref(task), task.reason, call)
        error._task = task.id, task.name
        return error

    def __str__(self) -> str:
        why = "" if self.reason is None else f": {text_of(self.reason)}"
        return f"{self._name()} was cancelled{why}"

    def _name(self) -> str:
        if self._task is not None:
            return f"task #{self._task[0]} {self._task[1]}"
        return text_of(self.scope)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scope!r}, {self.reason!r})"

    def __reduce__(self) -> Any:
        """For another process: with names in place of what lives in this one."""
        return type(self), (self._name(), _portable(self.reason))

    @property
    def bytes_sent(self) -> int:
        """How many bytes a cancelled ``sendall`` had sent; 0 for other calls."""
        return getattr(self.call, "bytes_sent", 0)


def _portable(thing: Any) -> Any:
    """`thing` if it can be pickled, else its text."""
    from pickle import dumps  # noqa: PLC0415  (it takes its time to import)

    try:
        dumps(thing)
    except Exception:
        return text_of(thing)
    return thing


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
            Its ``str()`` is most of the message of the error.
        advice: What may be the matter, in lines of their own, or "".
    """

    def __init__(self, snapshot: Any = None, advice: str = "") -> None:
        super().__init__(snapshot, advice)
        self.snapshot: Snapshot = snapshot
        self.advice = advice

    def __str__(self) -> str:
        text = f"nothing can wake the tasks that wait\n{self.snapshot}"
        return f"{text}\n{self.advice}" if self.advice else text


class InvariantError(AssertionError):
    """The kernel broke a rule of its own. Please report it, with the task table."""
