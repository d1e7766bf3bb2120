"""microthreads beside asyncio: ``python3 -m benchmarks``.

Rounds of all contenders are interleaved, and medians reported, since machines
are noisy. Every figure is CPU time an operation, or memory a connection, so it
can be compared on a machine that does other things as well.

The last columns hold the figures of the prototype that this project began
with, taken on a machine like the one of the README's table.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import subprocess
import sys
from collections.abc import Callable
from statistics import median

from benchmarks import echoing, switching

PROTOTYPE = {name: work[2] for name, work in switching.WORK.items()} | {
    "echo, server CPU (us)": 6.4,
    "idle connection (KiB)": 1.0,
}


def measured_apart(work: str, contender: str) -> float:
    """Nanoseconds of CPU an operation, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.switching", work, contender]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def contenders(name: str, uvloop: bool) -> dict[str, Callable[[], float]]:
    """What measures one row of the table, by column."""
    if name.startswith("echo"):
        names = ["microthreads", "asyncio", "floor"] + ["uvloop"] * uvloop
        return {each: lambda each=each: echoing.cpu_per_echo(each) for each in names}
    if name.startswith("idle"):
        names = ["microthreads", "asyncio"] + ["uvloop"] * uvloop
        return {each: lambda each=each: echoing.kib_per_connection(each) for each in names}
    names = ["microthreads", "asyncio"] + ["uvloop"] * uvloop + ["floor"] * (name == "bare yield")
    return {each: lambda each=each: measured_apart(name, each) for each in names}


def interleaved(row: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each contender over rounds in which they take turns."""
    figures: dict[str, list[float]] = {name: [] for name in row}
    for _ in range(rounds):
        for name, measured in row.items():
            figures[name].append(measured())
    return {name: median(values) for name, values in figures.items()}


def show(name: str, row: dict[str, float]) -> None:
    """One line of the table."""
    ours, theirs = row["microthreads"], row["asyncio"]
    expected = PROTOTYPE[name]
    cells = [f"{row[column]:,.1f}" if column in row else "-" for column in COLUMNS]
    print(
        f"{name:<24}"
        + "".join(f"{cell:>13}" for cell in cells)
        + f"{theirs / ours:>12.1f}x{expected:>12,.1f}{ours / expected:>8.2f}",
        flush=True,
    )


COLUMNS = ["microthreads", "asyncio", "uvloop", "floor"]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python3 -m benchmarks --rounds 3 --only 'bare yield'",
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each contender (default 5)")
    parser.add_argument("--only", choices=list(PROTOTYPE), action="append", help="just this row")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    uvloop = importlib.util.find_spec("uvloop") is not None
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.platform()}")
    print("ns of CPU an operation where no other unit is given; medians", flush=True)
    heads = [*COLUMNS, "to asyncio", "prototype", "ratio"]
    widths = [13] * 4 + [13, 12, 8]
    print(" " * 24 + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for name in options.only or PROTOTYPE:
        if sys.stderr.isatty():
            print(f"{name} ...", end="\r", file=sys.stderr, flush=True)
        show(name, interleaved(contenders(name, uvloop), options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
