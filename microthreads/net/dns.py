"""Looking names up, in threads, since the C library's resolver blocks.

The threads are a pool of their own: a resolver that hangs for a minute keeps no other
work waiting, and nobody waits for it at the end of the program. A numeric address
needs no thread. A task that is cancelled while it waits goes on at once; the thread
finishes what it does, and nobody looks at the result.
"""

from __future__ import annotations

import os
import socket
import threading
from queue import SimpleQueue
from typing import Any, Literal

from microthreads.kernel import PENDING, Failure, Pending, SystemCall, Task, Wait, Waiter
from microthreads.net.sockets import network

MOST_THREADS = 16

Found = list[tuple[Any, ...]]
"""What `socket.getaddrinfo` returns."""


class Resolve(SystemCall[Found]):
    """Look a name up: the addresses to connect to."""

    __slots__ = ("host", "job", "kind", "port")

    def __init__(self, host: str, port: int, kind: int = socket.SOCK_STREAM) -> None:
        check_name(host)
        self.waiter = None
        self.host = host
        self.port = port
        self.kind = kind
        self.job: Job | None = None

    def attempt(self, task: Task[Any]) -> Found | Literal[Pending.PENDING]:
        try:
            found: Found = network().getaddrinfo(
                self.host, self.port, type=self.kind, flags=socket.AI_NUMERICHOST
            )
        except socket.gaierror:
            return PENDING
        return found

    def arm(self, waiter: Waiter) -> None:
        kernel: Any = waiter.kernel
        kernel.outside += 1
        self.job = Job(self, kernel)
        pool.put(self.job)

    def disarm(self, waiter: Waiter) -> None:
        waiter.kernel.outside -= 1
        if self.job is not None:
            self.job.wanted = False

    def describe(self) -> Wait:
        return Wait("look up", self.host)


def check_name(host: str) -> None:
    """Refuse a name with a zero byte, at which the C library would take it to end.

    Raises:
        ValueError: It has one.
    """
    if "\0" in host:
        raise ValueError(f"a host name cannot have a zero byte, as {host!r} has")


class Job:
    """One look-up on its way through a thread."""

    def __init__(self, call: Resolve, kernel: Any) -> None:
        self._call = call
        self._kernel = kernel
        self._network = network()
        self.wanted = True

    def do(self) -> None:
        """Look the name up, in a thread, and tell the kernel."""
        if not self.wanted:
            return
        call = self._call
        result: Any
        try:
            result = self._network.getaddrinfo(call.host, call.port, type=call.kind)
        except BaseException as error:
            if isinstance(error, socket.gaierror):
                error = socket.gaierror(
                    error.errno, f"no address for {call.host!r}: {error.strerror}"
                )
            result = Failure(error)
        try:
            self._kernel.post(self._done, result)
        except RuntimeError:
            pass  # the kernel has ended meanwhile

    def _done(self, result: Any) -> None:
        if self.wanted:
            self.wanted = False
            self._kernel.outside -= 1
            self._call.wake(result)


class Pool:
    """Threads that come when there is work for them; they end with the program."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with no threads; also in a forked child, which has none of its parent's."""
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._unfinished = 0

    def put(self, job: Job) -> None:
        """Have a thread do `job`."""
        self._jobs.put(job)
        with self._lock:
            self._unfinished += 1
            if self._threads < min(self._unfinished, MOST_THREADS):
                self._threads += 1
                name = f"microthreads-dns-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            job.do()
            del job
            with self._lock:
                self._unfinished -= 1


pool = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.renew)
