"""What keeps a task from ending before the children that its blocks have left running.

A plain `with` cannot wait at its end. So when one is left while tasks of its group
run, a routine is put under the task's own: it is sent the outcome of that, waits
for the children, and hands the outcome on. There is one for a task, however many
blocks it has left.

A child that fails while its host goes on is reported at once, as one that nobody
joins; one that fails later makes the host fail.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from microthreads.errors import Cancelled
from microthreads.groups.failures import together
from microthreads.kernel import Task
from microthreads.runtime import reports
from microthreads.runtime.reports import log_crash
from microthreads.timeouts import shield

if TYPE_CHECKING:
    from microthreads.groups.group import TaskGroup


class Rest(Generator[Any, Any, Any]):
    """The groups whose blocks `host` has left, and whose tasks still run.

    It is itself what is put under the host's routine, and so can be found there.
    """

    def __init__(self, host: Task[Any]) -> None:
        self.groups: dict[int, TaskGroup] = {}
        self.begun = False  # whether the host's own routine has ended
        self._on_crash = getattr(host.kernel, "on_crash", log_crash)
        self._course = self._wait_for_all()
        self._course.send(None)

    def _wait_for_all(self) -> Generator[Any, Any, Any]:
        result, errors = None, []
        try:
            result = yield
        except BaseException as error:
            errors.append(error)
        self.begun = True
        for group in list(self.groups.values()):
            try:
                with shield(math.inf):
                    yield group.join()
            except BaseException as late:
                errors.append(late)
        if not errors:
            return result
        try:
            raise as_one(errors)
        finally:
            del self, errors, result  # the error's traceback has this frame

    def send(self, value: Any) -> Any:
        """The host's routine has returned `value`; or go on."""
        try:
            return self._course.send(value)
        finally:
            del self, value  # the traceback of an error that it holds has this frame

    def throw(self, *error: Any) -> Any:
        """The host's routine has failed with `error`; or go on."""
        return self._course.throw(*error)

    def report(self, child: Task[Any]) -> None:
        """`child` has failed, and its host is elsewhere."""
        reports.crashed(child, self._on_crash)


def as_one(errors: list[BaseException]) -> BaseException:
    """What the host fails with: its own error, with those that came later."""
    failures = [error for error in errors if not isinstance(error, Cancelled)]
    return errors[0] if len(errors) == 1 else together(failures or errors)


def rest_of(host: Task[Any]) -> Rest:
    """What is under the routine of `host` to wait for the rest; put there if need be."""
    bottom = host.callers[0] if host.callers else None
    if isinstance(bottom, Rest):
        return bottom
    rest = Rest(host)
    host.kernel.put_under(host, rest)
    return rest
