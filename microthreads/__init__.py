"""microthreads: green threads in pure Python.

A task is a generator or a coroutine that yields system calls to a scheduler::

    from microthreads import run, spawn, sleep

    def countdown(n):
        while n > 0:
            print(n)
            yield sleep(1)
            n -= 1

    def main():
        yield spawn(countdown(3))
        yield spawn(countdown(5))

    run(main())

The kernel, its calls, channels and `select` are here at once. All else is imported
when its name is first used (DOC: design/imports).
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from microthreads import oldest  # noqa: F401  (the first of ours: it refuses older Pythons)
from microthreads.calls import join, sleep, sleep_until, spawn
from microthreads.channels import Channel
from microthreads.errors import (
    BrokenLockError,
    BusyError,
    Cancelled,
    ClosedError,
    DeadlockError,
    ForkedError,
    IncompleteReadError,
    InvariantError,
    LimitExceeded,
)
from microthreads.kernel import (
    Descriptor,
    EpollPoller,
    Routine,
    State,
    SystemCall,
    Task,
    current_task,
    now,
)
from microthreads.runtime import Kernel, run
from microthreads.select import select
from microthreads.timeouts import CancelScope, move_on_after, shield, timeout

if TYPE_CHECKING:
    from microthreads.groups import Supervisor, TaskGroup, gather, parallel_map, race
    from microthreads.net import (
        Socket,
        Stream,
        Workers,
        accept_loop,
        activated_sockets,
        listen,
        open_connection,
        open_udp,
        open_unix_connection,
        sd_notify,
        serve,
        serve_on,
        serve_unix,
    )
    from microthreads.offload import wait_future
    from microthreads.queues import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown
    from microthreads.runtime.pollers import SelectorPoller
    from microthreads.signals import wait_signal
    from microthreads.sync import (
        Barrier,
        BoundedSemaphore,
        BrokenBarrierError,
        Condition,
        Event,
        Lock,
        RLock,
        Semaphore,
    )

LATER = {
    "groups": "Supervisor TaskGroup gather parallel_map race",
    "net": "Socket Stream Workers accept_loop activated_sockets listen open_connection open_udp "
    "open_unix_connection sd_notify serve serve_on serve_unix",
    "offload": "wait_future",
    "queues": "Empty Full LifoQueue PriorityQueue Queue ShutDown",
    "runtime.pollers": "SelectorPoller",
    "signals": "wait_signal",
    "sync": "Barrier BoundedSemaphore BrokenBarrierError Condition Event Lock RLock Semaphore",
}
WHERE = {name: module for module, names in LATER.items() for name in names.split()}


def _later(name: str) -> Any:
    """A name that is used for the first time: import what has it."""
    if name not in WHERE:
        from microthreads.hints import missing  # noqa: PLC0415  (only where it is needed)

        raise missing(name, sys._getframe(1))
    value = getattr(import_module(f"{__name__}.{WHERE[name]}"), name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # to type checkers, every name would exist
    __getattr__ = _later


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "BrokenLockError",
    "BusyError",
    "CancelScope",
    "Cancelled",
    "Channel",
    "ClosedError",
    "Condition",
    "DeadlockError",
    "Descriptor",
    "Empty",
    "EpollPoller",
    "Event",
    "ForkedError",
    "Full",
    "IncompleteReadError",
    "InvariantError",
    "Kernel",
    "LifoQueue",
    "LimitExceeded",
    "Lock",
    "PriorityQueue",
    "Queue",
    "RLock",
    "Routine",
    "SelectorPoller",
    "Semaphore",
    "ShutDown",
    "Socket",
    "State",
    "Stream",
    "Supervisor",
    "SystemCall",
    "Task",
    "TaskGroup",
    "Workers",
    "accept_loop",
    "activated_sockets",
    "current_task",
    "gather",
    "join",
    "listen",
    "move_on_after",
    "now",
    "open_connection",
    "open_udp",
    "open_unix_connection",
    "parallel_map",
    "race",
    "run",
    "sd_notify",
    "select",
    "serve",
    "serve_on",
    "serve_unix",
    "shield",
    "sleep",
    "sleep_until",
    "spawn",
    "timeout",
    "wait_future",
    "wait_signal",
]

__version__ = "0.1.0"

_debug = os.environ.get("MICROTHREADS_DEBUG", "0") not in ("", "0")

if _debug or sys.flags.dev_mode:
    from microthreads.observe.forgotten import watch

    watch()

if _debug:
    from microthreads.observe import Invariants

    Kernel.default_observers = (Invariants(),)
