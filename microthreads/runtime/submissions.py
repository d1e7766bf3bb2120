"""Submissions: routines that other threads have the kernel run, for a future of theirs."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from microthreads.errors import Cancelled, DeadlockError
from microthreads.kernel import Place, Routine, Task
from microthreads.kernel.current import this_thread
from microthreads.kernel.syscalls import add_note
from microthreads.places import without_our_frames

if TYPE_CHECKING:
    from microthreads.runtime.outside import Reachable


ENDED_BY_DEADLOCK = """\
the kernel that this was submitted to has ended, since none of its tasks could go on; a
task in `sleep(math.inf)` keeps one waiting for what other threads submit. It had said:"""


class Submitted(Future[Any]):
    """The future of a submission: waiting for it in the kernel's own thread is refused."""

    def __init__(self, kernel: Reachable) -> None:
        super().__init__()
        self._kernel = kernel

    def result(self, timeout: float | None = None) -> Any:
        """As of any future.

        Raises:
            RuntimeError: It is not done, and asked for in the thread that is to do it.
        """
        self._check_thread()
        try:
            return super().result(timeout)
        finally:
            del self  # its error's traceback has this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As of any future; see `result`."""
        self._check_thread()
        return super().exception(timeout)

    def _check_thread(self) -> None:
        if not self.done() and this_thread.kernel is self._kernel:
            raise RuntimeError(
                "this waits in the thread of the kernel that is to do it, which could never "
                "come to it: yield wait_future(future) in a task, or wait in another thread"
            )


class Submission:
    """A routine on its way from another thread, and the future of its outcome.

    The future stays pending until the task has ended, so that it can be cancelled. It
    is told its end once, in `_tell`, whichever way that comes.
    """

    def __init__(self, kernel: Reachable, routine: Routine[Any], place: Place) -> None:
        self.future = Submitted(kernel)
        self._kernel = kernel
        self._routine = routine
        self._place = place
        self._outcome: tuple[Any, BaseException | None] = (
            None,
            RuntimeError("the kernel ended before this was done"),
        )

    def start(self) -> None:
        """Start the task; in the kernel's thread."""
        if self._kernel.closing:
            self._outcome = None, RuntimeError("the kernel was closed before this began")
        if self._kernel.closing or self.future.cancelled():
            self._kernel.discard(self._routine)
            self._tell()
            return
        try:
            name = getattr(self._routine, "__name__", None)
            task = self._kernel.start(self._relay(), name, False, None, self._place)
        except BaseException as error:  # a class of the program's own
            self._outcome = None, error
            self._tell()
            return
        task.closing = self
        self.future.add_done_callback(partial(cancelled, self._kernel, task))

    def _relay(self) -> Generator[Any, Any, None]:
        try:
            result = yield self._routine
        except BaseException as error:
            self._note_deadlock(error)
            self._outcome = None, without_our_frames(error)
        else:
            self._outcome = result, None

    def _note_deadlock(self, error: BaseException) -> None:
        """The thread that submitted it may be the one that could have gone on."""
        ending = getattr(self._kernel, "ending", None)
        if isinstance(error, Cancelled) and isinstance(ending, DeadlockError):
            add_note(error, f"{ENDED_BY_DEADLOCK}\n{ending}")

    def close(self) -> None:
        """The task has ended, and so has all that it left behind."""
        self._tell()

    def _tell(self) -> None:
        """Give the future its outcome, or have those who wait know that it was cancelled."""
        (result, error), self._outcome = self._outcome, (None, None)
        if not self.future.set_running_or_notify_cancel():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


def cancelled(kernel: Reachable, task: Task[Any], future: Future[Any]) -> None:
    """A submitted future is done. No method: a future keeps its callbacks, and so its own."""
    if future.cancelled():
        try:
            kernel.post(task.cancel)
        except RuntimeError:
            pass  # it is closed, and the task has been cancelled with all others
