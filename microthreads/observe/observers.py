"""Observers: who is told of each transition a task makes.

Give them to a kernel as ``Kernel(observers=[...])`` or by ``kernel.observe``. An
observer only looks: it must not change anything of the kernel's, and must not
raise. A kernel that has none pays one test of a local variable a resume.
"""

from __future__ import annotations

from typing import Any

from microthreads.kernel.syscalls import SystemCall
from microthreads.kernel.task import Task


class Observer:
    """Told of what tasks do. Override what you need; each method does nothing."""

    def spawned(self, task: Task[Any]) -> None:
        """`task` was made and put into the ready queue."""

    def resumed(self, task: Task[Any]) -> None:
        """`task` is about to run until its next yield."""

    def parked(self, task: Task[Any], call: SystemCall[Any]) -> None:
        """`task` waits on `call`, which has been armed."""

    def woken(self, task: Task[Any], value: Any) -> None:
        """`task` went back to the ready queue; `value` is its result or a `Failure`."""

    def ended(self, task: Task[Any]) -> None:
        """`task` is done; its outcome is known, and its joiners have been woken."""

    def idle(self, seconds: float | None) -> None:
        """Nothing is ready: the kernel will block for so long at most; None: no limit."""
