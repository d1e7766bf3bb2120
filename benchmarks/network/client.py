"""The client of the echo in Python, for where there is no compiler; client.c says what it does.

``python3 -m benchmarks.network.client PORT SIZE``. It is slower, so its throughput and
latency are in part its own; the CPU that the server needs is not.
"""

from __future__ import annotations

import select
import socket
import sys
import time

BATCH = 256


class Connections:
    """Connections that all send the same message, and wait for it to come back."""

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self._message = bytes((i * 7 + i // 256) & 255 for i in range(size))
        self._sockets: dict[int, socket.socket] = {}
        self._poller = select.epoll()

    def connect(self, wanted: int) -> str:
        """Have so many in all; in batches that are answered, so the backlog never overflows."""
        while len(self._sockets) < wanted:
            missing = min(BATCH, wanted - len(self._sockets))
            batch = [socket.create_connection(("127.0.0.1", self._port)) for _ in range(missing)]
            for each in batch:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                each.sendall(b"\1")
            for each in batch:
                if each.recv(1) != b"\1":
                    raise ConnectionError("the server closed a connection")
                self._sockets[each.fileno()] = each
                self._poller.register(each, select.EPOLLIN)
        return str(len(self._sockets))

    def run(self, rounds: int) -> str:
        """Keep a message under way on each, until each had so many rounds."""
        begun = time.perf_counter()
        took = self._took(rounds)
        seconds = time.perf_counter() - begun
        took.sort()
        p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
        return f"{len(took)} {seconds:.9f} {p50 * 1e6:.3f} {p99 * 1e6:.3f}"

    def _took(self, rounds: int) -> list[float]:
        """The seconds of each echo."""
        took: list[float] = []
        left = dict.fromkeys(self._sockets, rounds)
        begun: dict[int, float] = {}
        got = dict.fromkeys(self._sockets, 0)
        for fd in left:
            self._begin(fd, begun)
        while left:
            for fd, _ in self._poller.poll():
                got[fd] += self._receive(fd, got[fd])
                if got[fd] < len(self._message):
                    continue
                took.append(time.perf_counter() - begun[fd])
                got[fd] = 0
                left[fd] -= 1
                if left[fd]:
                    self._begin(fd, begun)
                else:
                    del left[fd]
        return took

    def _begin(self, fd: int, begun: dict[int, float]) -> None:
        begun[fd] = time.perf_counter()
        self._sockets[fd].sendall(self._message)

    def _receive(self, fd: int, got: int) -> int:
        data = self._sockets[fd].recv(len(self._message) - got)
        if not data or not self._message.startswith(data, got):
            raise ConnectionError("not what was sent")
        return len(data)


def main() -> None:
    connections = Connections(*map(int, sys.argv[1:]))
    for line in sys.stdin:
        verb, number = line.split()
        answer = {"connect": connections.connect, "run": connections.run}[verb](int(number))
        print(answer, flush=True)


if __name__ == "__main__":
    main()
