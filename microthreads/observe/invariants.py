"""The kernel's invariants, checked after every transition.

An observer for tests and for debugging: set the environment variable
``MICROTHREADS_DEBUG=1``, or give ``Kernel(observers=[Invariants()])``. What it
checks:

- a task is in exactly one of ready, running, parked, done;
- a parked task is armed for exactly the calls it waits on, and each of these
  stands in the wait queue it says, once;
- the poller's count of armed calls is right, and it watches their descriptors;
- `live` counts the tasks that are not daemons;
- a task owns the locks that it holds, and holds none when it is done.

Each transition checks the task concerned. All tasks are checked when the kernel
is idle, unless fewer transitions than there are tasks went by since the last
time: so the cost of a transition does not depend on how many tasks there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import get_ident
from typing import Any

from microthreads.errors import InvariantError
from microthreads.kernel import Core, DescriptorCall, State, SystemCall, Task, running_kernel
from microthreads.observe.observers import Observer


class Invariants(Observer):
    """Raises `InvariantError`, which stops the kernel, when a rule is broken."""

    def __init__(self) -> None:
        self._transitions = 0

    def spawned(self, task: Task[Any]) -> None:
        self._require(task.state is State.READY, task, "was spawned, but is not ready")
        self._require(task.kernel.ready[-1] is task, task, "is not last in the ready queue")

    def resumed(self, task: Task[Any]) -> None:
        self._require(task.state is State.RUNNING, task, "is resumed, but is not running")

    def parked(self, task: Task[Any], call: SystemCall[Any]) -> None:
        if task.waiting_on is None:
            return  # it was woken while it was being armed
        self._require(task.waiting_on is call, task, "is parked on another call")
        self._check_armed(task)

    def woken(self, task: Task[Any], value: Any) -> None:
        here = getattr(task.kernel, "thread", None) in (None, get_ident())
        self._require(here, task, "was woken from another thread: use its kernel's post()")
        self._require(task.waiting_on is None, task, "was woken, but still waits")
        self._require(task.kernel.ready[-1] is task, task, "is not last in the ready queue")

    def ended(self, task: Task[Any]) -> None:
        self._require(task.state is State.DONE, task, "has ended, but is not done")
        self._require(not task.joiners, task, "has ended, but somebody still joins it")
        self._require(not task.holding, task, "has ended, but still holds locks")

    def idle(self, seconds: float | None) -> None:
        kernel = running_kernel()
        if kernel is not None and self._transitions >= len(kernel.tasks):
            self._transitions = 0
            self._check_all(kernel)

    def _check_all(self, kernel: Core) -> None:
        armed = 0
        for task in kernel.tasks.values():
            self._require(task.state is State.PARKED, task, "is not parked, yet the kernel is idle")
            self._check_armed(task)
            armed += sum(_stands_at_a_descriptor(call) for call in _leaves(task.waiting_on))
        if kernel.poller.armed != armed:
            raise InvariantError(f"the poller counts {kernel.poller.armed} calls, not {armed}")
        live = sum(not task.daemon for task in kernel.tasks.values())
        if kernel.live != live:
            raise InvariantError(f"the kernel counts {kernel.live} tasks to wait for, not {live}")

    def _check_armed(self, task: Task[Any]) -> None:
        for lock in task.holding or ():
            if lock.owner is not task:
                self._require(False, task, f"holds {lock}, but does not own it")
        leaves = list(_leaves(task.waiting_on))
        undoing = any(getattr(call, "undoing", False) for call in leaves)
        for call in leaves:
            if undoing and call.waiter is None:
                continue  # undone already; another one of the select takes its time
            owned = call.waiter is not None and call.task is task
            self._require(owned, task, "is not the one that its call is armed for")
            self._require(
                getattr(call, "queue", self) is not None, task, "waits, and stands in no queue"
            )
            queue = getattr(call, "queue", None)
            if queue is not None:
                before = queue.first if call.previous is None else call.previous.next
                after = queue.last if call.next is None else call.next.previous
                linked = before is call and after is call
                self._require(linked, task, "is not in the queue that it waits in")
            if isinstance(call, DescriptorCall) and queue is not None:
                poller = task.kernel.poller
                self._require(
                    call.descriptor.poller is poller, task, "waits for what is not watched"
                )

    def _require(self, holds: bool, task: Task[Any], otherwise: str) -> None:
        self._transitions += 1
        if not holds:
            raise InvariantError(f"{task} {otherwise}")


def _stands_at_a_descriptor(call: SystemCall[Any]) -> bool:
    return isinstance(call, DescriptorCall) and getattr(call, "queue", None) is not None


def _leaves(call: Any) -> Iterator[SystemCall[Any]]:
    """The calls that a call is made of, down to those that are not made of any."""
    parts = getattr(call, "calls", None)
    if parts is None:
        yield call
    else:
        for part in parts:
            yield from _leaves(part)
