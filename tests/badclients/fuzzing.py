"""Thousands of inputs, each on a connection of its own, several at once.

If the server says something, or dies, it is not clear at once which of the last inputs
was it: they are tried again, one by one, on a server of their own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from .entry import Target, reset, rest_of, shut
from .inputs import Input, input_of

AT_ONCE = 12  # connections
RECENT = 100  # inputs that may have been it
WAIT = 0.1  # seconds for a server to say something about an input that it got alone


class Fuzzer:
    """Sends inputs to a server, and sees what comes of each.

    Args:
        target: The server.
        seed: What the inputs are made from.

    Attributes:
        done: How many were sent.
        complaints: What was wrong, by the number of the input.
        recent: The numbers of the last ones.
    """

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.seed = seed
        self.done = 0
        self.complaints: dict[int, str] = {}
        self.recent: deque[int] = deque(maxlen=RECENT)
        self._quiet = target.said()

    def input(self, number: int) -> Input:
        """The input with this number."""
        return input_of(self.target.entry.samples, self.target.entry.name, self.seed, number)

    def run(self, numbers: Iterable[int], progress: Callable[[int], None]) -> float:
        """Send all of these, until one goes wrong; how many a second."""
        began, left = time.monotonic(), iter(numbers)
        threads = [threading.Thread(target=self._work, args=[left]) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)
                progress(self.done)
        return self.done / (time.monotonic() - began)

    def _work(self, left: Iterator[int]) -> None:
        for number in left:
            self.recent.append(number)
            complaint = self.attempt(number)
            self.done += 1
            if complaint:
                self.complaints[number] = complaint
            if self.complaints or self.target.said() > self._quiet:
                break

    def attempt(self, number: int) -> str:
        """Send one; what is wrong with what came of it."""
        try:
            if self.target.entry.transport == "udp":
                return self._datagrams(self.input(number))
            return self._conversation(self.input(number))
        except Exception as error:
            return repr(error)

    def _conversation(self, bad: Input) -> str:
        sock, sent = self.target.connect(), b""
        try:
            with contextlib.suppress(ConnectionError):
                for piece in bad.pieces:
                    filled = self.target.filled(piece)
                    sock.sendall(filled)
                    sent += filled
            if bad.ending == "half-close":
                shut(sock)
                answer = rest_of(sock)
                if not self.target.entry.good(sent, answer):
                    return f"the answer was {answer[:300]!r}"
            elif bad.ending == "reset":
                reset(sock)
        except TimeoutError:
            return f"the server does not end the connection, {sock.gettimeout()} s after its client"
        finally:
            sock.close()
        return ""

    def _datagrams(self, bad: Input) -> str:
        with self.target.connect(1.0) as sock:
            other = "nothing"
            for _ in range(10):  # the system may drop datagrams
                sock.send(bad.data)
                if bad.ending != "half-close":
                    return ""  # and nobody is there for the answer
                with contextlib.suppress(TimeoutError):
                    # What others were sent, who had this port before, may come here.
                    while (data := sock.recv(70_000)) != bad.data:
                        other = repr(data[:300])
                    return ""
        return f"what came back for ten datagrams was {other}"

    def culprit(self, target: Target) -> int | None:
        """Which of the last inputs has the server say something if it comes alone."""
        again = Fuzzer(target, self.seed)
        for number in self.recent:
            before = target.said()
            if again.attempt(number) or (time.sleep(WAIT) or target.said() > before):
                return number
        return None
