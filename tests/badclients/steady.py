"""Those who are there all the while: a good client who is answered, and slow ones."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from statistics import median
from typing import Self

from .entry import Target, reset

PAUSE = 0.02  # seconds between two requests of the good client
WORST = 5.0  # seconds that it may wait for an answer; a machine may be busy with other things


class Steady:
    """A thread that does something again and again, until the block is left."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def step(self) -> float:
        """Do it once; returns how long to pause."""
        raise NotImplementedError

    def _run(self) -> None:
        try:
            while not self._stop.wait(self.step()):
                pass
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()


class GoodClient(Steady):
    """Sends request after request, each on a connection of its own.

    Attributes:
        waits: How long each took, in seconds.
        most: The most memory that the server has had meanwhile, in bytes.
    """

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self.waits: list[float] = []
        self.most = 0

    def step(self) -> float:
        began = time.monotonic()
        self._target.probe()
        self.waits.append(time.monotonic() - began)
        self.most = max(self.most, self._target.server.memory())
        return PAUSE

    def check(self) -> None:
        """Fail if it was not answered, wrongly, or late."""
        if self.failure is not None:
            raise AssertionError(f"the good client failed: {self.failure!r}") from self.failure
        worst = max(self.waits, default=0.0)
        if worst > WORST:
            raise AssertionError(f"the good client waited {worst:.1f} s")

    def __str__(self) -> str:
        waits = self.waits or [0.0]
        worst, usual = 1e3 * max(waits), 1e3 * median(waits)
        return (
            f"good client: {len(self.waits)} answers, median {usual:.1f} ms, worst {worst:.0f} ms"
        )


class SlowClients(Steady):
    """Many connections that each send a byte a second, and begin anew when they are closed."""

    def __init__(self, target: Target, count: int) -> None:
        super().__init__()
        self._target = target
        samples = target.samples
        self._inputs = [samples[number % len(samples)] for number in range(count)]
        self._sent = [0] * count
        self._socks: list[socket.socket | None] = [None] * count

    def step(self) -> float:
        for number in range(len(self._inputs)):
            try:
                self._byte(number)
            except BlockingIOError:
                pass
            except OSError:
                self._close(number)
        return 1.0

    def _byte(self, number: int) -> None:
        sock, data = self._socks[number], self._inputs[number]
        if sock is None:
            self._socks[number] = sock = self._target.connect()
            sock.setblocking(False)
            self._sent[number] = 0
        at = self._sent[number] % len(data)
        self._sent[number] += sock.send(data[at : at + 1])
        with contextlib.suppress(BlockingIOError):
            if not sock.recv(65536):
                self._close(number)

    def _close(self, number: int) -> None:
        sock, self._socks[number] = self._socks[number], None
        if sock is not None:
            reset(sock)

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__()
        for number in range(len(self._socks)):
            self._close(number)
