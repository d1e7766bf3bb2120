"""What counts as a failure of a task in a group, and how several become one error."""

from __future__ import annotations

from typing import Any

from microthreads.errors import Cancelled
from microthreads.kernel import Failure, Task
from microthreads.kernel.syscalls import set_cause
from microthreads.whose import is_of, name_of_scope


def failure_of(child: Task[Any], value: Any) -> BaseException | None:
    """The error in `value`, the outcome of `child`; its being cancelled is none."""
    error: BaseException | None = value.error if type(value) is Failure else None
    return None if is_of(error, child) else error


def of_block(error: BaseException, host: Task[Any]) -> list[BaseException]:
    """What the failure of a block of `host` adds to those of its tasks.

    A cancellation of the host, or of a block further out, adds nothing: it is told again,
    at the next yield. One of another task, that was joined there, is an error like others.
    """
    if not isinstance(error, Cancelled):
        return [error]
    scope: Any = host.scope
    while scope is not None and not is_of(error, scope):
        scope = scope.outer
    if is_of(error, host) or scope is not None:
        return []
    foreign = RuntimeError(f"the block ended by the cancellation of {name_of_scope(error)}")
    foreign.__cause__ = error
    return [foreign]


def together(errors: list[BaseException]) -> BaseException:
    """One error that carries all of `errors`; sys.exit() and Ctrl-C come first."""
    for error in errors:
        if issubclass(type(error), (SystemExit, KeyboardInterrupt)):
            return error
    text = f"{len(errors)} failure{'' if len(errors) == 1 else 's'} in a TaskGroup"
    try:
        return BaseExceptionGroup(text, errors)
    except BaseException:  # an error class of the program's own that cannot be asked
        error = RuntimeError(f"{text}, which do not make a group")
        set_cause(error, errors[0])
        return error
