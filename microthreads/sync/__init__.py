"""Locks and what is like them, for tasks: the names of `threading`, as system calls.

Read locks.py first: who owns a lock, and how it is handed on. The rest is shorter.
"""

from threading import BrokenBarrierError

from microthreads.sync.conditions import Condition
from microthreads.sync.events import Barrier, Event
from microthreads.sync.locks import Lock, RLock
from microthreads.sync.semaphores import BoundedSemaphore, Semaphore

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
]
