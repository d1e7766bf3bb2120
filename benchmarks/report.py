"""Results in words: numbers, a block of lines for each workload, and what is missing.

Read next: markdown.py for the tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from benchmarks.results import Figure, Results, Row
from benchmarks.workload import OURS

NOTHING = "-"


def number(value: float) -> str:
    """Three digits that count, and thousands with commas."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def cell(figure: Figure | None, spread: bool = True) -> str:
    """A figure as a table shows it."""
    if figure is None:
        return NOTHING
    text = number(figure.median)
    return f"{text} ±{figure.spread:.0%}" if spread and figure.count > 1 else text


def times(ratio: float | None) -> str:
    """A ratio as a table shows it."""
    return NOTHING if ratio is None else f"{number(ratio)}×"


def title(row: Row, key: str = "value") -> str:
    """What a row measures, with the unit, and the percentile where there are several."""
    which = "" if key == "value" else f", {key}"
    better = ", larger is better" if row.better == "larger" else ""
    return f"{row.title}{which}, {row.unit}{better}"


def block(row: Row) -> str:
    """A workload for the terminal: a line for each contender, with its ratios to ours."""
    lines = [f"{row.name}: {title(row)}"]
    if len(row.keys) > 1:
        lines.append(f"  {'':<24}" + "".join(f"{key:>17}" for key in row.keys))
    best = row.best_peer()
    for name in row.samples:
        figures = "".join(f"{cell(row.figure(name, key)):>17}" for key in row.keys)
        advantage = None if name == OURS else row.advantage(name)
        ratio = "" if advantage is None else f"{times(advantage):>10} ours"
        lines.append(f"  {name:<24}{figures}{ratio}{'  best peer' * (name == best)}")
    lines += [f"  {name:<24}  {reason}" for name, reason in row.reasons.items()]
    return "\n".join(lines)


def reasons(rows: Iterable[Row]) -> list[str]:
    """Why there is no figure: a line for each contender and reason, with the workloads."""
    where: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for contender, reason in row.reasons.items():
            where.setdefault((contender, reason), []).append(row.name)
    return [f"{who}: {reason} ({', '.join(names)})" for (who, reason), names in where.items()]


def setting(results: Results) -> str:
    """Machine, versions and date, in one sentence."""
    about = results.about
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    load = about.get("load at start")
    facts = [
        about["date"],
        f"{about['processor']}, {about['cores']} cores",
        about["system"],
        about["python"],
        packages,
        f"commit {about['commit']}" if about.get("commit") else "",
        f"load at the start {load[0]}" if load else "",
        about.get("ended", ""),
    ]
    return "; ".join(fact for fact in facts if fact) + "."
