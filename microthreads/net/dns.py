"""Looking names up, in threads, since the C library's resolver blocks.

The threads are a pool of their own: a resolver that hangs for a minute keeps no other
work waiting, and nobody waits for it at the end of the program. A task that is cancelled
while it waits goes on at once; the thread finishes what it does, and nobody looks at
the result.

Numeric addresses and localhost need no thread, so they wait for nobody. Other names wait
while `THREADS` others are looked up, but a look-up that has not begun after `PATIENCE`
seconds gets a thread of its own, since those hang: up to `MOST_THREADS`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque
from typing import Any, Literal

from microthreads.kernel import PENDING, Failure, Pending, SystemCall, Task, Wait, Waiter
from microthreads.net.sockets import Address, network

NUMERIC = int(socket.AI_NUMERICHOST)  # an enum's `|` takes 3 us
THREADS = 16  # that are kept
MOST_THREADS = 128  # that there may be while some of them hang
PATIENCE = 1.0  # seconds that a look-up waits for one of the threads that there are

Found = list[tuple[Any, ...]]
"""What `socket.getaddrinfo` returns."""


def look_up(
    host: str | None, port: int, *, kind: int = socket.SOCK_STREAM, flags: int = 0, net: Any = None
) -> Found:
    """The addresses of `host`, by the resolver, which may block. A plain call.

    Raises:
        socket.gaierror: There is none; or `host` is no name at all.
    """
    try:
        found: Found = (net or network()).getaddrinfo(host, port, type=kind, flags=flags)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"no address for {host!r}: {error.strerror}") from None
    except UnicodeError as error:
        why = f"no address for {host!r}, which is no host name: {error}"
        raise socket.gaierror(socket.EAI_NONAME, why) from None
    return found


class Resolve(SystemCall[Found]):
    """Look a name up: the addresses to connect to, or to listen at."""

    __slots__ = ("flags", "host", "job", "kind", "port", "timer")

    def __init__(
        self, host: str | None, port: int, kind: int = socket.SOCK_STREAM, flags: int = 0
    ) -> None:
        check_name(host or "")
        self.waiter = None
        self.host = host
        self.port = port
        self.kind = kind
        self.flags = flags
        self.job: Job | None = None
        self.timer: Any = None

    def attempt(self, task: Task[Any]) -> Found | Literal[Pending.PENDING]:
        host, flags = self.host, self.flags
        if host is not None and is_local(host):
            host = host.removesuffix(".")  # with the dot, the resolver may ask the network
        else:
            flags |= NUMERIC
        try:
            return look_up(host, self.port, kind=self.kind, flags=flags)
        except socket.gaierror:
            if flags == self.flags:
                raise
        return PENDING

    def arm(self, waiter: Waiter) -> None:
        kernel: Any = waiter.kernel
        self.job = Job(self, kernel)
        kernel.outside += 1
        if not pool.put(self.job):
            kernel.timers.add(kernel.now() + PATIENCE, self)

    def expire(self) -> None:
        waiter, job = self.waiter, self.job
        if waiter is not None and job is not None and not pool.hurry(job):
            waiter.kernel.timers.add(waiter.kernel.now() + PATIENCE, self)

    def disarm(self, waiter: Waiter) -> None:
        if self.job is not None and self.job.wanted:
            self.job.wanted = False
            waiter.kernel.outside -= 1
            pool.drop(self.job)
        if self.timer is not None:
            waiter.kernel.timers.cancel(self)

    def found(self, result: Any) -> None:
        """A thread has done it."""
        waiter = self.waiter
        if waiter is not None:
            self.disarm(waiter)
            self.wake(result)

    def describe(self) -> Wait:
        return Wait("look up", self.host)


def check_port(port: int, verb: str, least: int = 0, name: str = "port") -> None:
    """Refuse what is no port.

    Args:
        port: What was given.
        verb: Who asks, for the text of the error.
        least: The lowest port that will do: 1 to connect to; 0 lets the system choose one.
        name: What it is called in the text.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is not from `least` to 65535.
    """
    if not isinstance(port, int):
        raise TypeError(f"{verb}() needs a {name} that is an integer, got {port!r}")
    if not least <= port <= 65535:
        raise ValueError(f"{verb}() needs a {name} from {least} to 65535, got {port}")


def check_local(local: Address, verb: str) -> None:
    """Refuse what is no local address.

    Raises:
        TypeError: It is not a host and a port.
        ValueError: The port is not from 0 to 65535.
    """
    if local is None:
        return
    is_pair = isinstance(local, tuple) and len(local) in (2, 3, 4)
    if not is_pair or not isinstance(local[0], str):
        raise TypeError(f"{verb}() needs a local_address (host, port), got {local!r}")
    check_port(local[1], verb, name="local port")


def own_addresses(local: Address, kind: int = socket.SOCK_STREAM) -> Resolve:
    """A system call that looks a local address up: the addresses to bind.

    Args:
        local: A name or an address ("" for any) and a port, and for IPv6 maybe what
            `getsockname` has behind them, of which the scope counts.
    """
    host, port, *more = local
    if more and more[-1] and "%" not in host:
        host = f"{host}%{more[-1]}"
    return Resolve(host or None, port, kind, socket.AI_PASSIVE)


def is_local(host: str | None) -> bool:
    """Whether no name server is asked for `host`: it means this machine (RFC 6761, 6.3)."""
    return host is None or host.lower().removesuffix(".") == "localhost"


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
        self.host = call.host
        self.wanted = True

    def do(self) -> None:
        """Look the name up, in a thread, and tell the kernel."""
        if not self.wanted:
            return
        call = self._call
        result: Any
        try:
            result = look_up(
                call.host, call.port, kind=call.kind, flags=call.flags, net=self._network
            )
        except BaseException as error:
            result = Failure(error)
        try:
            self._kernel.post(self._done, result)
        except RuntimeError:
            pass  # the kernel has ended meanwhile

    def _done(self, result: Any) -> None:
        if self.wanted:
            self._call.found(result)


class Pool:
    """Threads that come when there is work for them; they end with the program."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with no threads; also in a forked child, which has none of its parent's."""
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._threads = self._idle = 0

    def put(self, job: Job) -> bool:
        """Have a thread do `job`; True if one can begin at once.

        Raises:
            socket.gaierror: There is no thread, and none can be started.
        """
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
                return True
            if self._threads >= THREADS:
                return False
            try:
                self._start()
            except RuntimeError as error:
                if self._threads == 0:
                    self._jobs.remove(job)
                    text = f"cannot look up {job.host!r}, since no thread can be started: {error}"
                    raise socket.gaierror(socket.EAI_AGAIN, text) from None
                return False
            return True

    def hurry(self, job: Job) -> bool:
        """`job` has waited for long: those before it hang. It gets a thread of its own.

        False if there can be none now, and it waits for one of the others.
        """
        with self._changed:
            if job not in self._jobs:
                return True
            self._jobs.remove(job)
            self._jobs.appendleft(job)
            if self._threads < MOST_THREADS:
                with contextlib.suppress(RuntimeError):
                    self._start()
                    return True
            return False

    def drop(self, job: Job) -> None:
        """Nobody wants `job` any more."""
        with self._changed, contextlib.suppress(ValueError):  # a thread has it
            self._jobs.remove(job)

    def _start(self) -> None:
        name = f"microthreads-dns-{self._threads + 1}"
        threading.Thread(target=self._work, name=name, daemon=True).start()
        self._threads += 1

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.do()
            del job

    def _next(self) -> Job | None:
        """The next job, when there is one; None if this thread is one too many."""
        with self._changed:
            while not self._jobs:
                if self._threads > THREADS:
                    self._threads -= 1
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._jobs.popleft()


pool = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.renew)
