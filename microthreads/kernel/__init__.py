"""The closed core: tasks, the system call protocol, and the loop that serves them.

Start with kernel.py. Everything outside this folder is made of system calls,
with the names that are imported here; how they work inside is nobody else's
concern.
"""

from microthreads.kernel.clock import Clock, MonotonicClock
from microthreads.kernel.current import current_task, now, running_kernel
from microthreads.kernel.descriptors import Descriptor, DescriptorCall, Side
from microthreads.kernel.kernel import Core, Observer, Policy
from microthreads.kernel.pollers import EpollPoller, Poller
from microthreads.kernel.routines import Routine, check_routine
from microthreads.kernel.scopes import Scope
from microthreads.kernel.syscalls import PENDING, Failure, Pending, SystemCall, Wait, Waiter
from microthreads.kernel.task import Join, State, Task
from microthreads.kernel.waitqueue import WaitQueue
from microthreads.places import Place, place_of_caller

__all__ = [
    "PENDING",
    "Clock",
    "Core",
    "Descriptor",
    "DescriptorCall",
    "EpollPoller",
    "Failure",
    "Join",
    "MonotonicClock",
    "Observer",
    "Pending",
    "Place",
    "Policy",
    "Poller",
    "Routine",
    "Scope",
    "Side",
    "State",
    "SystemCall",
    "Task",
    "Wait",
    "WaitQueue",
    "Waiter",
    "check_routine",
    "current_task",
    "now",
    "place_of_caller",
    "running_kernel",
]
