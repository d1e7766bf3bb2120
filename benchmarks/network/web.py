"""HTTP requests, with wrk as the client: what each costs the server, and how many there are.

All contenders have the same parser, which looks for the empty line, and one fixed
response: frameworks are not what is compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable

from benchmarks.network.processes import SkipError, processors, server, with_parent
from benchmarks.workload import quick

UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


def http(contender: str, connections: str) -> dict[str, float]:
    """Microseconds a request: of the server's CPU, of time, and latencies."""
    program = shutil.which("wrk")
    if program is None:
        raise SkipError("wrk is not installed")
    seconds = "1" if quick() else "2"
    this, other = processors()
    with server(contender, "http") as (served, port):
        url = f"http://127.0.0.1:{port}/"
        command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
        served.place({this})
        before = served.cpu_seconds()
        requests = parsed(run(command, on(this)))["requests"]
        cpu = (served.cpu_seconds() - before) / requests * 1e6
        figures = parsed(run(command, on(other)))
    return {"cpu": cpu} | {name: figures[name] for name in ("elapsed", "p50", "p99")}


def run(command: list[str], before: Callable[[], None]) -> str:
    """What wrk prints."""
    done = subprocess.run(
        command,
        preexec_fn=before,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def on(processor: int) -> Callable[[], None]:
    """What has a child run on one processor."""

    def place() -> None:
        with_parent()
        os.sched_setaffinity(0, {processor})

    return place


def parsed(output: str) -> dict[str, float]:
    """The figures of wrk, in microseconds.

    Raises:
        RuntimeError: There were errors.
    """
    if "Socket errors" in output or "Non-2xx" in output:
        raise RuntimeError(f"wrk met errors: {output}")
    figures = {"requests": float(found(r"(\d+) requests in", output)[0])}
    figures["elapsed"] = 1e6 / float(found(r"Requests/sec:\s+([\d.]+)", output)[0])
    for share in ("50", "99"):
        number, unit = found(rf"{share}%\s+([\d.]+)(us|ms|s)", output)
        figures[f"p{share}"] = float(number) * UNITS[unit]
    return figures


def found(pattern: str, output: str) -> tuple[str, ...]:
    match = re.search(pattern, output)
    if match is None:
        raise RuntimeError(f"wrk printed no {pattern!r}: {output}")
    return match.groups()
