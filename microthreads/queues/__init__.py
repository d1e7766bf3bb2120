"""Queues: the names and the meaning of `queue`, as system calls. See queue.py."""

from queue import Empty, Full

from microthreads.queues.queue import LifoQueue, PriorityQueue, Queue, ShutDown

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown"]
