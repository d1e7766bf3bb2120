"""The workloads of the network, as benchmarks/workload.py has them.

    echo/SIZE/CONNECTIONS   a message under way on every connection
    growth                  the CPU of an echo at 10,000 connections against 100
    bulk/in, bulk/out       one connection, as fast as it goes
    http/CONNECTIONS        requests by wrk
    memory                  of a connection that is open and idle

What is measured how is in measure.py; the contenders are the files of servers/.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.network.contenders import NOTES, WHERE
from benchmarks.workload import Measure, Workload, python

SIZES = {64: "64 B", 1024: "1 KiB", 65536: "64 KiB"}
CONNECTIONS = (1, 100, 1_000, 10_000)
MOST_THREADS = 1_000
IDLE = 15_000
ROUNDS = 3  # at most: one of all workloads here takes some seven minutes
FEW, MANY = 100, 10_000
KEYS = ("cpu", "elapsed", "p50", "p99")

TOO_MANY = {"threads": f"more than {MOST_THREADS:,} threads"}


def measures(kind: str, *words: object, without: Iterable[str] = ()) -> dict[str, Measure]:
    """A measurement for every contender."""
    return {
        name: Measure(python("benchmarks.network.measure", kind, name, *words), NOTES[name])
        for name in WHERE
        if name not in without
    }


def echo(size: int, connections: int) -> Workload:
    """Microseconds an echo: of the server's CPU; of time; and latencies."""
    missing = TOO_MANY if connections > MOST_THREADS else {}
    label = SIZES[size]
    return Workload(
        name=f"echo/{label.replace(' ', '')}/{connections}",
        title=f"echo of {label}, {connections:,} connection{'s' * (connections > 1)}",
        unit="µs",
        rounds=ROUNDS,
        contenders=measures("echo", size, connections, without=missing),
        group=f"echo/{label.replace(' ', '')}",
        size=connections,
        axis="connections",
        keys=KEYS,
        missing=missing,
        headline=size == 1024 and connections in (100, 1_000),
    )


ECHOES = [echo(size, connections) for size in SIZES for connections in CONNECTIONS]

GROWTH = Workload(
    name="growth",
    title=f"CPU of an echo of 1 KiB at {MANY:,} connections, times that at {FEW}",
    unit="×",
    rounds=ROUNDS,
    contenders=measures("growth", FEW, MANY, without=TOO_MANY),
    group="growth",
    missing=TOO_MANY,
)

BULK = [
    Workload(
        name=f"bulk/{name}",
        title=f"one connection, the server {verb}, a GiB",
        unit="ms",
        rounds=ROUNDS,
        contenders=measures("bulk", role),
        group="bulk",
        keys=("cpu", "elapsed"),
    )
    for name, verb, role in (("in", "receives", "sink"), ("out", "sends", "source"))
]

HTTP = Workload(
    name="http/100",
    title="HTTP request, 100 connections",
    unit="µs",
    rounds=ROUNDS,
    contenders=measures("http", 100),
    group="http",
    keys=KEYS,
    headline=True,
)

MEMORY = Workload(
    name="memory",
    title=f"memory of an idle connection, {IDLE:,} of them",
    unit="KiB",
    rounds=ROUNDS,
    contenders=measures("memory", IDLE, without=TOO_MANY),
    group="memory",
    missing=TOO_MANY,
    headline=True,
)

WORKLOADS = [*ECHOES, GROWTH, *BULK, HTTP, MEMORY]
