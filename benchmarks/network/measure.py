"""One measurement in a process: ``python3 -m benchmarks.network.measure KIND CONTENDER ...``.

    echo CONTENDER SIZE CONNECTIONS     growth CONTENDER FEW MANY
    bulk CONTENDER sink|source          http CONTENDER CONNECTIONS
    memory CONTENDER CONNECTIONS

It prints one line of JSON, as benchmarks/workload.py says; and "skip", with the reason, if
that cannot be done here. `cpu` is what the server spends, with its client on the same
processor; `elapsed` the wall clock's time for each operation, with a processor for each, so
1e6 / elapsed are the operations a second.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

from benchmarks.network import web
from benchmarks.network.processes import (
    Child,
    SkipError,
    client,
    need_descriptors,
    processors,
    server,
)
from benchmarks.network.wire import NUMBER
from benchmarks.workload import quick

MICRO, MILLI = 1e6, 1e3
GIB = 1024**3
WARM = 100  # connections that a server has had, before memory is compared
MOST_IN_A_HURRY = 500  # connections, with --quick


def connections_of(word: str) -> int:
    """How many are meant; a few with --quick."""
    wanted = min(int(word), MOST_IN_A_HURRY) if quick() else int(word)
    need_descriptors(wanted)
    return wanted


def rounds_of(size: int, connections: int) -> int:
    """Rounds that take a server a good quarter of a second: alone, a client waits long."""
    echoes = 30_000 if size <= 4096 and connections > 1 else 10_000
    if quick():
        echoes //= 20
    return max(2, echoes // connections)


def cpu_of_echo(served: Child, driver: Child, rounds: int) -> float:
    """Microseconds of the server's CPU an echo, both on one processor."""
    for child in (served, driver):
        child.place({processors()[0]})
    driver.ask(f"run {max(1, rounds // 20)}")
    before = served.cpu_seconds()
    echoes = int(driver.ask(f"run {rounds}")[0])
    return (served.cpu_seconds() - before) / echoes * MICRO


def echo(contender: str, *words: str) -> dict[str, float]:
    size, connections = int(words[0]), connections_of(words[1])
    rounds = rounds_of(size, connections)
    with server(contender, "echo") as (served, port), client(port, size) as driver:
        driver.ask(f"connect {connections}")
        cpu = cpu_of_echo(served, driver, rounds)
        served.place({processors()[0]})
        driver.place({processors()[1]})
        driver.ask(f"run {max(1, rounds // 20)}")
        echoes, seconds, p50, p99 = map(float, driver.ask(f"run {rounds}"))
        served.stop()  # first, so that it does not see its clients go
    return {"cpu": cpu, "elapsed": seconds / echoes * MICRO, "p50": p50, "p99": p99}


def growth(contender: str, *words: str) -> dict[str, float]:
    """How many times the CPU an echo takes when there are many connections."""
    few, many = int(words[0]), connections_of(words[1])
    with server(contender, "echo") as (served, port), client(port, 1024) as driver:
        figures = []
        for connections in (few, many):
            driver.ask(f"connect {connections}")
            figures.append(cpu_of_echo(served, driver, rounds_of(1024, connections)))
        served.stop()
    return {"value": figures[1] / figures[0], "few": figures[0], "many": figures[1]}


def memory(contender: str, word: str) -> dict[str, float]:
    """KiB of the server's memory for each connection that is open and idle."""
    connections = connections_of(word)
    with server(contender, "echo") as (served, port), client(port, 1) as driver:
        driver.ask(f"connect {WARM}")
        before = served.resident_bytes()
        driver.ask(f"connect {WARM + connections}")
        time.sleep(0.1)
        after = served.resident_bytes()
        served.stop()
    return {"value": (after - before) / connections / 1024}


def bulk(contender: str, role: str) -> dict[str, float]:
    """Milliseconds a GiB, of the server's CPU and of time, over one connection."""
    size = GIB // (64 if quick() else 1)
    figures = {}
    with server(contender, role) as (served, port):
        this, other = processors()
        served.place({this})
        for name, processor in (("cpu", this), ("elapsed", other)):
            os.sched_setaffinity(0, {processor})  # this process is the client
            transfer(port, role, size // 16)
            before, begun = served.cpu_seconds(), time.perf_counter()
            transfer(port, role, size)
            elapsed = time.perf_counter() - begun
            spent = served.cpu_seconds() - before if name == "cpu" else elapsed
            figures[name] = spent * MILLI * GIB / size
    return figures


def transfer(port: int, role: str, size: int) -> None:
    """Send so many bytes to the server, or have it send them."""
    buffer = bytearray(1024 * 1024)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        if role == "sink":
            for _ in range(size // len(buffer)):
                sock.sendall(buffer)
            sock.shutdown(socket.SHUT_WR)
            got = int(sock.recv(100))
        else:
            sock.sendall(size.to_bytes(NUMBER, "little"))
            got = 0
            while got < size and (n := sock.recv_into(buffer)):
                got += n
    assert got == size, f"{got} bytes in place of {size}"


KINDS = {"echo": echo, "growth": growth, "memory": memory, "bulk": bulk, "http": web.http}


def main() -> None:
    kind, contender, *words = sys.argv[1:]
    try:
        figures: dict[str, float] | dict[str, str] = KINDS[kind](contender, *words)
    except SkipError as reason:
        figures = {"skip": str(reason)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
