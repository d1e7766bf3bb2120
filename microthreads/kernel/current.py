"""Which kernel runs in this thread, and which task it is running.

One kernel at most runs in a thread; `running_kernel` is how plain calls such
as `current_task()` and `with timeout(1):` find it.
"""

from __future__ import annotations

from _thread import _local as local  # `threading` takes 1 ms to import, a tenth of all
from typing import TYPE_CHECKING, Any

from microthreads.places import none_runs

if TYPE_CHECKING:
    from microthreads.kernel.kernel import Core
    from microthreads.kernel.task import Task


class _ThisThread(local):
    kernel: Core | None = None


this_thread = _ThisThread()


def running_kernel() -> Core | None:
    """The kernel that is running in this thread, or None."""
    return this_thread.kernel


def current_task() -> Task[Any]:
    """The task that is running now.

    Raises:
        RuntimeError: No task is running in this thread.
    """
    kernel = this_thread.kernel
    if kernel is None or kernel.current is None:
        raise none_runs("task")
    return kernel.current


def now() -> float:
    """The time on the running kernel's clock, in seconds.

    Raises:
        RuntimeError: No kernel is running in this thread.
    """
    kernel = this_thread.kernel
    if kernel is None:
        raise none_runs("kernel")
    return kernel.now()


def headroom(levels: int = 16) -> None:
    """See that the stack has room for so many more calls.

    For what must happen wholly or not at all: it fails here, before anything is done,
    rather than half-way. 0.5 us, so only where several steps follow.

    Raises:
        RecursionError: It has not.
    """
    if levels:
        headroom(levels - 1)
