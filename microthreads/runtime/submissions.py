"""Submissions: routines that other threads have the kernel run, for a future of theirs."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from microthreads.kernel import Place, Routine, Task

if TYPE_CHECKING:
    from microthreads.runtime.outside import Reachable


class Submission:
    """A routine on its way from another thread, and the future of its outcome."""

    def __init__(self, kernel: Reachable, routine: Routine[Any], place: Place) -> None:
        self.future: Future[Any] = Future()
        self._kernel = kernel
        self._routine = routine
        self._place = place
        self._outcome: tuple[Any, BaseException | None] = (
            None,
            RuntimeError("the kernel ended before this was done"),
        )

    def start(self) -> None:
        """Start the task; in the kernel's thread."""
        if self.future.cancelled():
            return
        name = getattr(self._routine, "__name__", None)
        task = self._kernel.start(self._relay(), name, False, None, self._place)
        task.closing = self
        self.future.add_done_callback(lambda future: self._cancelled(task))

    def _relay(self) -> Generator[Any, Any, None]:
        try:
            result = yield self._routine
        except BaseException as error:
            self._outcome = None, error
        else:
            self._outcome = result, None

    def close(self) -> None:
        """The task has ended, and so has all that it left behind."""
        result, error = self._outcome
        if error is not None:
            self._fail(error)
        elif not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

    def refuse(self) -> None:
        """Let the future fail: the kernel is closed, and the routine has not begun."""
        self._routine.close()
        self._fail(RuntimeError("the kernel was closed before this began"))

    def _fail(self, error: BaseException) -> None:
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def _cancelled(self, task: Task[Any]) -> None:
        if self.future.cancelled() and not self._kernel.closed:
            self._kernel.post(task.cancel)
