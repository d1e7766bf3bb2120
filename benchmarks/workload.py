"""What a benchmark is: a `Workload`, and for each contender a `Measure` of it.

A `Measure` is a command line. The runner starts it in a fresh process, from the
root of the repository, once a round, and takes turns between the contenders.
The process prints one line of JSON, the last one on its standard output:

    {"value": 123.4}                             in the workload's unit
    {"p50": 12.0, "p99": 80.1, "p99.9": 95.0}    where the workload has several `keys`
    {"skip": "epoll is on Linux only"}           it cannot run here, and why

With `--quick`, the environment holds MICROTHREADS_BENCHMARK_QUICK=1: do a small
share of the work, so that a measurement takes well under a second.

Keep this module light, and import nothing of the peers here: the measuring
processes may import it. Read next: catalogue.py (all workloads), running.py
(how they are run), results.py (what comes of it).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

OURS = "microthreads"
FLOOR = "floor"

# Contenders in the order of the table, and the packages that each one imports.
# A contender may come in variants, named with a word more ("asyncio protocol",
# "microthreads await"): these need what their first word needs.
PACKAGES: Mapping[str, tuple[str, ...]] = {
    OURS: ("microthreads",),
    "asyncio": (),
    "uvloop": ("uvloop",),
    "gevent": ("gevent",),
    "trio": ("trio",),
    "tinyio": ("tinyio",),
    "curio": ("curio",),
    "threads": (),
    FLOOR: (),
}


def family(contender: str) -> str:
    """The contender that a variant belongs to: "asyncio" for "asyncio protocol"."""
    return contender.split()[0]


@dataclass(frozen=True)
class Measure:
    """How one contender is measured: a command line, run in a fresh process."""

    command: Sequence[str]
    note: str = ""  # what it does, where that is not the obvious thing
    needs: tuple[str, ...] = ()  # packages besides those of the contender's family
    seconds: float = 120  # killed, and reported as failed, after this long


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    `missing` says, by contender, why somebody who might be looked for is not there
    ("has no select"). Workloads of one `group` that have a `size` make one line
    chart over it, `axis` being the label of that: "tasks at once".
    """

    name: str  # for --only: short, lower case, unique: "switch/100"
    title: str  # for the table: "bare yield and back, 100 tasks, ns"
    unit: str  # "ns", "µs", "ms", "bytes", "KiB", "MiB/s"
    contenders: Mapping[str, Measure]
    group: str  # the plot that it is part of: "switch"
    better: Literal["smaller", "larger"] = "smaller"
    size: int | None = None
    axis: str = ""
    keys: tuple[str, ...] = ("value",)  # of the JSON; the first one counts for ratios
    missing: Mapping[str, str] = field(default_factory=dict)
    rounds: int | None = None  # at most so many, for what takes long
    headline: bool = False  # in the README's table


def python(module: str, *words: object) -> tuple[str, ...]:
    """The command line that runs a module of this repository with this Python."""
    return (sys.executable, "-m", module, *map(str, words))


def quick() -> bool:
    """In a measuring process: whether a small share of the work will do."""
    return bool(os.environ.get("MICROTHREADS_BENCHMARK_QUICK"))
