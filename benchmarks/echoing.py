"""Echo: servers in processes of their own, and one client that drives them all.

``python3 -m benchmarks.echoing NAME`` is a server: it prints its port, serves
until its standard input ends, and does nothing else. The client is a bare
epoll loop. What counts is the CPU time that the *server's* process spends on
an echo, read from /proc, so the client's own cost does not matter. Both are
put on one processor: then all messages of the client are there when the server's
turn comes, as on a server that is busy, whichever of the two is faster.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from microthreads import Socket, accept_loop, run

SIZE = 1024
BACKLOG = 4096


def serve_microthreads(listener: socket.socket) -> None:
    def echo(connection: Socket) -> Generator[Any, Any, None]:
        with connection:
            while data := (yield connection.recv()):
                yield connection.sendall(data)

    run(accept_loop(Socket(listener), echo))


async def _streams(listener: socket.socket) -> None:
    import asyncio  # here, so that a server imports only what it needs

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, sock=listener, backlog=BACKLOG)
    await server.serve_forever()


def serve_asyncio(listener: socket.socket) -> None:
    import asyncio

    asyncio.run(_streams(listener))


def serve_uvloop(listener: socket.socket) -> None:
    import uvloop

    uvloop.run(_streams(listener))


def serve_floor(listener: socket.socket) -> None:
    """A bare epoll loop with no tasks."""
    poller, connections = select.epoll(), {}
    poller.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setblocking(False)
                connections[connection.fileno()] = connection
                poller.register(connection, select.EPOLLIN)
            elif data := connections[fd].recv(65536):
                connections[fd].send(data)
            else:
                connections.pop(fd).close()


SERVERS: dict[str, Callable[[socket.socket], None]] = {
    "microthreads": serve_microthreads,
    "asyncio": serve_asyncio,
    "uvloop": serve_uvloop,
    "floor": serve_floor,
}


@contextlib.contextmanager
def server(name: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its process id and its port."""
    command = [sys.executable, "-m", "benchmarks.echoing", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            with one_processor(process.pid):
                yield process.pid, port
        finally:
            process.kill()


@contextlib.contextmanager
def one_processor(pid: int) -> Iterator[None]:
    """Keep the process `pid` and this one on the same processor."""
    mine = os.sched_getaffinity(0)
    shared = {min(mine)}
    os.sched_setaffinity(pid, shared)
    os.sched_setaffinity(0, shared)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process's main thread so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def resident_bytes(pid: int) -> int:
    """How much memory a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connect(port: int, connections: int) -> list[socket.socket]:
    """That many connections to a server on this machine."""
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]


def cpu_per_echo(name: str, connections: int = 100, rounds: int = 300) -> float:
    """Microseconds of the server's CPU an echo of 1 KiB."""
    message = b"x" * SIZE
    with server(name) as (pid, port):
        sockets = connect(port, connections)
        _exchange(sockets, message, 20)
        before = cpu_seconds(pid)
        _exchange(sockets, message, rounds)
        spent = cpu_seconds(pid) - before
        for sock in sockets:
            sock.close()
    return spent / (connections * rounds) * 1e6


def _exchange(sockets: list[socket.socket], message: bytes, rounds: int) -> None:
    """Keep one message under way on every connection, until each had `rounds`."""
    by_number = {sock.fileno(): sock for sock in sockets}
    left = dict.fromkeys(by_number, rounds)
    got = dict.fromkeys(by_number, 0)
    with select.epoll() as poller:
        for fd, sock in by_number.items():
            poller.register(fd, select.EPOLLIN)
            sock.sendall(message)
        while left:
            for fd, _ in poller.poll():
                got[fd] += len(by_number[fd].recv(65536))
                if got[fd] < len(message):
                    continue
                got[fd] = 0
                left[fd] -= 1
                if left[fd]:
                    by_number[fd].sendall(message)
                else:
                    del left[fd]
                    poller.unregister(fd)


def kib_per_connection(name: str, connections: int = 5_000) -> float:
    """KiB of the server's memory for each connection that is open and idle."""
    with server(name) as (pid, port):
        warm = connect(port, 100)
        _exchange(warm, b"x", 1)
        before = resident_bytes(pid)
        sockets = connect(port, connections)
        _exchange(sockets, b"x", 1)
        time.sleep(0.1)
        after = resident_bytes(pid)
        for sock in warm + sockets:
            sock.close()
    return (after - before) / connections / 1024


def main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        SERVERS[sys.argv[1]](listener)


if __name__ == "__main__":
    main()
