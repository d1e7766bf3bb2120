"""Runs workloads: each measurement a process of its own, the contenders taking turns.

For each workload come so many rounds, and in each round every contender is measured
once: what else the machine does meets all of them alike. A contender that cannot run,
or fails, is noted with its reason and left out of the rounds that follow; the run
goes on. Ctrl-C ends it after killing the measurement under way, and what there is
by then is kept.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.progress import Progress
from benchmarks.results import Row
from benchmarks.workload import PACKAGES, Measure, Workload, family

ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):  # noqa: N818
    """A measurement gave no figure; says why."""


def uninstalled(contender: str, measure: Measure) -> str | None:
    """Why a contender cannot run, if a package that it needs is not installed."""
    needed = (*PACKAGES.get(family(contender), ()), *measure.needs)
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else None


def one(measure: Measure, keys: Sequence[str], quick: bool = False) -> dict[str, float]:
    """Measure once, in a fresh process; `Failed` says why there is no figure."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MICROTHREADS_BENCHMARK_QUICK", None)
    if quick:
        environment["MICROTHREADS_BENCHMARK_QUICK"] = "1"
    process = subprocess.Popen(
        measure.command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that it can be ended with all that it started
    )
    try:
        out, complaint = process.communicate(timeout=measure.seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"took longer than {measure.seconds:g} s") from None
    finally:
        _end(process)
    return _understood(process.returncode, out, complaint, keys)


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and its group, if they are still there."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    with process:  # closes its pipes, and waits
        pass


def _understood(code: int, out: str, complaint: str, keys: Sequence[str]) -> dict[str, float]:
    """The figures in what a measurement printed."""
    lines = out.strip().splitlines()
    try:
        found: Any = json.loads(lines[-1])
        if "skip" in found:
            raise Failed(str(found["skip"]))
        figures = {key: float(found[key]) for key in keys}
        if code == 0 and all(map(math.isfinite, figures.values())):
            return figures
    except (IndexError, KeyError, TypeError, ValueError):
        pass
    said = (complaint.strip() or out.strip() or "it printed nothing").splitlines()[-1]
    raise Failed(f"failed, exit code {code}: {said}")


def chosen(workload: Workload, wanted: Sequence[str]) -> tuple[dict[str, Measure], dict[str, str]]:
    """The contenders to measure, and the reasons why others cannot be; all if none is `wanted`."""

    def is_wanted(name: str) -> bool:
        return not wanted or name in wanted or family(name) in wanted

    reasons = {name: why for name, why in workload.missing.items() if is_wanted(name)}
    measures = {}
    for name, measure in workload.contenders.items():
        if not is_wanted(name):
            continue
        if why := uninstalled(name, measure):
            reasons[name] = why
        else:
            measures[name] = measure
    return measures, reasons


def run(
    workloads: Sequence[Workload],
    wanted: Sequence[str],
    rounds: int,
    quick: bool,
    progress: Progress,
    measured: Callable[..., dict[str, float]] = one,
) -> Iterator[Row]:
    """Measure each workload; its row, when all of its rounds are done.

    Before a KeyboardInterrupt goes on, the row under way comes as far as it is.
    """
    plans = [(workload, *chosen(workload, wanted)) for workload in workloads]
    plans = [(workload, who, why) for workload, who, why in plans if who or why]
    turns = {workload.name: min(rounds, workload.rounds or rounds) for workload in workloads}
    progress.expect({each.name: (list(who), turns[each.name]) for each, who, _ in plans})
    for workload, measures, reasons in plans:
        row = Row.of(workload, reasons)
        try:
            _fill(row, measures, turns[workload.name], quick, progress, measured)
        except KeyboardInterrupt:
            if row.samples:
                yield row
            raise
        yield row


def _fill(
    row: Row,
    measures: dict[str, Measure],
    rounds: int,
    quick: bool,
    progress: Progress,
    measured: Callable[..., dict[str, float]],
) -> None:
    """Round by round, each contender once."""
    for number in range(rounds):
        for contender, measure in measures.items():
            if contender in row.reasons:
                continue
            with progress.measuring(row.name, contender, number):
                try:
                    sample = measured(measure, row.keys, quick)
                    row.samples.setdefault(contender, []).append(sample)
                except (Failed, OSError) as failure:
                    row.reasons[contender] = str(failure)
                    progress.drop(row.name, contender)
