"""The demo: an echo server and its clients, a ticker and a pipeline, all in one kernel.

Every byte is checked. What it prints at its end is measured, not typed in.
"""

from __future__ import annotations

import random
import socket
import sys
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from microthreads.calls import sleep, spawn
from microthreads.channels import Channel
from microthreads.errors import ClosedError
from microthreads.groups import TaskGroup
from microthreads.kernel import Task, now
from microthreads.net import Socket, accept_loop, listen
from microthreads.observe import Observer
from microthreads.runtime import Kernel

if TYPE_CHECKING:
    from microthreads.runtime.options import PollerName

TICK = 0.01
SPARE_DESCRIPTORS = 32
Routine = Generator[Any, Any, Any]


class PeakTasks(Observer):
    """How many tasks were alive at once, at most."""

    def __init__(self) -> None:
        self.alive = self.peak = 0

    def spawned(self, task: Task[Any]) -> None:
        self.alive += 1
        self.peak = max(self.peak, self.alive)

    def ended(self, task: Task[Any]) -> None:
        self.alive -= 1


class Demo:
    """One run of the demo.

    Args:
        clients: How many echo clients run at once.
        messages: How many messages each of them sends.
        size: The size of a message, in bytes.
        poller: The poller's name, or None for the best.

    Raises:
        ValueError: This platform has no such poller, or not enough descriptors.
    """

    def __init__(self, clients: int, messages: int, size: int, poller: PollerName | None) -> None:
        self.clients = clients
        self.messages = messages
        self.size = size
        self.echoes = self.ticks = self.piped = 0
        self.latest = 0.0
        need_descriptors(2 * clients + SPARE_DESCRIPTORS, poller)
        self.peak = PeakTasks()
        self.kernel = Kernel(poller=poller, observers=[self.peak])

    def run(self) -> None:
        """Run it, and print the table."""
        began, cpu = time.perf_counter(), time.process_time()
        with self.kernel:
            self.kernel.run(self._main())
        self._show(time.perf_counter() - began, time.process_time() - cpu)

    def _main(self) -> Routine:
        with listen("127.0.0.1", 0) as listener, TaskGroup() as group:
            server = accept_loop(listener, self._echo)
            yield group.spawn(server, name="server", daemon=True)
            yield group.spawn(self._tick(), name="ticker", daemon=True)
            yield group.spawn(self._progress(), name="progress", daemon=True)
            yield group.spawn(self._pipeline(), name="pipeline")
            address = listener.getsockname()
            for number in range(self.clients):
                yield group.spawn(self._client(number, address), name=f"client {number}")
            yield group.join()

    def _echo(self, connection: Socket) -> Routine:
        with connection:
            while data := (yield connection.recv()):
                yield connection.sendall(data)

    def _client(self, number: int, address: Any) -> Routine:
        message = random.Random(number).randbytes(self.size)  # noqa: S311  (data to check)
        with Socket(socket.socket()) as connection:
            yield connection.connect(address)
            for _ in range(self.messages):
                yield spawn(self._send(connection, message), name=f"sender {number}")
                received = b""
                while len(received) < self.size:
                    data = yield connection.recv()
                    if not data:
                        raise EOFError(f"client {number} lost its connection")
                    received += data
                if received != message:
                    raise ValueError(f"client {number} got other bytes back than it sent")
                self.echoes += 1

    def _send(self, connection: Socket, message: bytes) -> Routine:
        yield connection.sendall(message)

    def _pipeline(self) -> Routine:
        """Numbers, through two channels and a task that squares them."""
        numbers: Channel[int] = Channel(name="numbers")
        squares: Channel[int] = Channel(8, name="squares")
        yield spawn(self._count(numbers), name="count")
        yield spawn(self._square(numbers, squares), name="square")
        total = 0
        while True:
            try:
                total += yield squares.recv()
            except ClosedError:
                break
            self.piped += 1
        if total != sum(number * number for number in range(self.piped)):
            raise ValueError("the pipeline lost or doubled a number")

    def _count(self, numbers: Channel[int]) -> Routine:
        for number in range(10_000):
            yield numbers.send(number)
        numbers.close()

    def _square(self, numbers: Channel[int], squares: Channel[int]) -> Routine:
        while True:
            try:
                number = yield numbers.recv()
            except ClosedError:
                return squares.close()
            yield squares.send(number * number)

    def _tick(self) -> Routine:
        due = now()
        while True:
            due += TICK
            yield sleep(max(due - now(), 0.0))
            self.latest = max(self.latest, now() - due)
            self.ticks += 1

    def _progress(self) -> Routine:
        """On a terminal a bar that moves; elsewhere a line for each quarter."""
        terminal = sys.stderr.isatty()
        all_echoes = self.clients * self.messages
        quarters = 0
        try:
            while True:
                share = self.echoes / all_echoes
                if terminal:
                    bar = "#" * int(40 * share)
                    text = f"\r[{bar:<40}] {self.echoes:,} of {all_echoes:,} echoes"
                    print(text, end="", file=sys.stderr, flush=True)
                elif int(4 * share) > quarters:
                    quarters = int(4 * share)
                    print(f"{self.echoes:,} of {all_echoes:,} echoes", file=sys.stderr, flush=True)
                yield sleep(0.05)
        finally:
            if terminal:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _show(self, seconds: float, cpu: float) -> None:
        switches = self.kernel.switches
        size = 2 * self.echoes * self.size
        rows = [
            ("clients", f"{self.clients:,}", f"on {self.kernel.poller.name}"),
            ("echoes", f"{self.echoes:,}", f"{self.echoes / seconds:,.0f} a second"),
            ("bytes", f"{size:,}", "there and back, every one checked"),
            ("piped through channels", f"{self.piped:,}", "numbers, their sum checked"),
            ("ticks of 10 ms", f"{self.ticks:,}", f"the latest by {self.latest * 1000:.1f} ms"),
            ("switches", f"{switches:,}", f"{seconds:.2f} s, {cpu:.2f} s of CPU"),
            ("us a switch", f"{cpu / switches * 1e6:.2f}", "of CPU, all the work included"),
            ("peak tasks", f"{self.peak.peak:,}", ""),
        ]
        for name, figure, remark in rows:
            print(f"{name:<24}{figure:>14}  {remark}".rstrip())


def need_descriptors(count: int, poller: PollerName | None) -> None:
    """See to it that this process may open so many descriptors, or say why it cannot."""
    if poller == "select" and count > 1024:
        raise ValueError(
            f"select() can watch 1,024 descriptors, and this needs {count:,}: "
            "ask for fewer clients, or another poller"
        )
    try:
        import resource  # noqa: PLC0415  (not on every platform)
    except ImportError:
        return  # Windows has no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            raise ValueError(
                f"this process may open {hard:,} descriptors, and this needs {count:,}: "
                "ask for fewer clients, or raise the limit (ulimit -n)"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
