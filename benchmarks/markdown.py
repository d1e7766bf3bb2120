"""Results as Markdown: the whole report, and the README's table.

A table has a line for each workload, and further lines for other percentiles and for
variants of contenders ("trampoline"), and a column for each family of contenders.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.report import cell, reasons, setting, times, title
from benchmarks.results import Results, Row
from benchmarks.workload import OURS, PACKAGES, family

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
LEGEND = (
    "Medians of fresh processes that took turns; smaller is better where the title does not say "
    "otherwise. Best peer: how many times ours its figure is. Floor: how many times ours is that "
    "of the same work with no scheduler."
)


def columns(rows: Iterable[Row]) -> list[str]:
    """The families that have a figure in some row, in the order of the table."""
    found = {family(name) for row in rows for name in row.samples}
    return [name for name in PACKAGES if name in found] + sorted(found - set(PACKAGES))


def grid(rows: Sequence[Row], spread: bool = True, all_keys: bool = True) -> list[list[str]]:
    """The table, as a list of lines of cells; the first is the head."""
    heads = columns(rows)
    lines = [["", *heads, "best peer ÷ ours", "ours ÷ floor"]]
    for row in rows:
        keys = row.keys if all_keys else row.keys[:1]
        for key in keys:
            best = row.best_peer(key)
            peer = "" if best is None else f"{best} {times(row.advantage(best, key))}"
            cells = [cell(row.figure(head, key), spread) for head in heads]
            lines.append([title(row, key), *cells, peer, times(row.over_floor(key))])
        for variant in _variants(row):
            for key in keys:
                cells = [cell(row.figure(f"{head} {variant}", key), spread) for head in heads]
                lines.append([f"… {variant}{_of(key)}", *cells, "", ""])
    return lines


def _of(key: str) -> str:
    return "" if key == "value" else f", {key}"


def _variants(row: Row) -> list[str]:
    """The second words of contenders that have one: "trampoline"."""
    names = [name.partition(" ")[2] for name in row.samples]
    return list(dict.fromkeys(name for name in names if name))


def table(rows: Sequence[Row], spread: bool = True, all_keys: bool = True) -> str:
    """The table in Markdown."""
    head, *lines = grid(rows, spread, all_keys)
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def notes(rows: Iterable[Row]) -> list[str]:
    """What was done, where it is not the obvious thing: a line for each workload."""
    return [
        f"`{row.name}`: " + "; ".join(f"{who}: {note}" for who, note in row.notes.items())
        for row in rows
        if row.notes
    ]


def whole(results: Results) -> str:
    """The whole report: the table, what is missing and why, what was done, and where."""
    parts = [
        "# Figures",
        f"`{results.about['command']}`",
        setting(results),
        table(results.rows),
        f"{LEGEND} ± is half of what lies between the lowest and the highest.",
    ]
    if lines := reasons(results.rows):
        parts.append("No figure:\n\n" + "\n".join(f"- {line}" for line in lines))
    if lines := notes(results.rows):
        parts.append("What was done:\n\n" + "\n".join(f"- {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def readme_part(results: Results) -> str:
    """What stands between the marks in README.md: the rows that matter most, and from where."""
    rows = [row for row in results.rows if row.headline and OURS in row.samples]
    if not rows:
        raise ValueError("none of the README's workloads is in these results")
    source = f"`{results.about['command']}`: {setting(results)}"
    wrapped = [textwrap.fill(text, 100, break_on_hyphens=False) for text in (source, LEGEND)]
    return "\n".join([BEGIN, table(rows, spread=False, all_keys=False), "", *wrapped, END])


def rewrite(readme: Path, results: Results) -> None:
    """Put the table between the marks of a file; ValueError if they are not there."""
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{readme} has no {BEGIN} and {END}")
    readme.write_text(before + readme_part(results) + after, encoding="utf-8")
