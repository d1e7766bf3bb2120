"""What counts as a failure of a task in a group, and how several become one error."""

from __future__ import annotations

from typing import Any

from microthreads.errors import Cancelled
from microthreads.kernel import Failure, Task


def failure_of(child: Task[Any], value: Any) -> BaseException | None:
    """The error in `value`, the outcome of `child`; its being cancelled is none."""
    error = value.raised() if isinstance(value, Failure) else None
    return None if isinstance(error, Cancelled) and error.scope is child else error


def together(errors: list[BaseException]) -> BaseException:
    """One error that carries all of `errors`; sys.exit() and Ctrl-C come first.

    What was cancelled is left out: that is told again, at the next yield.
    """
    for error in errors:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            return error
    errors = [error for error in errors if not isinstance(error, Cancelled)] or errors
    many = "" if len(errors) == 1 else "s"
    return BaseExceptionGroup(f"{len(errors)} failure{many} in a TaskGroup", errors)
