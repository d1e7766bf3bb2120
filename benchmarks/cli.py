"""The command line. What it runs: running.py; what it prints: report.py, markdown.py."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from benchmarks import machine, markdown, report, running
from benchmarks.progress import Progress
from benchmarks.results import Results, Row
from benchmarks.workload import PACKAGES, Workload, family

Named = TypeVar("Named", Workload, Row)
README = machine.ROOT / "README.md"

ABOUT = """\
microthreads beside its peers: the same work, done by each.

Every measurement is a process of its own, and the contenders take turns, round by
round. Figures are CPU time an operation, or memory; smaller is better. On a terminal
it says what it measures and how long the rest will take; Ctrl-C ends it, and what
there is by then is shown and written.

The peers come with `pip install --group bench`. What is not installed is left out,
with a line that says so.
"""

EXAMPLES = """\
examples:
  python3 -m benchmarks --list                         what there is
  python3 -m benchmarks --quick                        all of it, roughly
  python3 -m benchmarks --headline --rounds 3          the README's table
  python3 -m benchmarks --only switch                  what has "switch" in its name
  python3 -m benchmarks --only 'sleep/*' --contenders microthreads,asyncio,floor
  python3 -m benchmarks --json results.json            the whole run, kept
  python3 -m benchmarks --from results.json --markdown figures.md --plots plots
  python3 -m benchmarks --from results.json --readme   rewrites the README's table
"""


def parser() -> argparse.ArgumentParser:
    """All options."""
    made = argparse.ArgumentParser(
        prog="python3 -m benchmarks",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = made.add_argument_group("what to measure")
    what.add_argument("--list", action="store_true", help="list workloads and contenders, and end")
    what.add_argument(
        "--only",
        metavar="PATTERN",
        action="append",
        help="just workloads with this in their name; *, ? and [] match as in a shell; repeatable",
    )
    what.add_argument("--headline", action="store_true", help="just the README's workloads")
    what.add_argument("--contenders", metavar="A,B", help="just these")
    what.add_argument("--rounds", type=int, default=5, help="of each contender (default 5)")
    what.add_argument("--quick", action="store_true", help="one round of little work: rough")
    what.add_argument("--from", dest="source", metavar="JSON", type=Path, help="measure nothing")
    _outputs(made)
    return made


def _outputs(made: argparse.ArgumentParser) -> None:
    where = made.add_argument_group("what to make of it")
    where.add_argument("--json", metavar="FILE", type=Path, help="write every sample")
    where.add_argument("--markdown", metavar="FILE", type=Path, help="write tables and notes")
    where.add_argument("--plots", metavar="DIR", type=Path, help="draw PNG and SVG (matplotlib)")
    where.add_argument(
        "--readme",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=README,
        help="rewrite the table between the marks in README.md, or in this file",
    )


def selected(
    workloads: Sequence[Named], patterns: Sequence[str] | None, headline: bool = False
) -> list[Named]:
    """Those whose name one of the patterns matches; ValueError for one that matches none."""
    if headline:
        workloads = [each for each in workloads if each.headline]
    names = [each.name for each in workloads]

    def matches(name: str, pattern: str) -> bool:
        if pattern in names:
            return name == pattern
        return pattern in name or fnmatchcase(name, pattern)

    for pattern in patterns or []:
        if not any(matches(name, pattern) for name in names):
            raise ValueError(f"no workload matches {pattern!r}; --list shows them")
    return [
        each
        for each in workloads
        if not patterns or any(matches(each.name, pattern) for pattern in patterns)
    ]


def contenders(workloads: Sequence[Workload], words: str | None) -> list[str]:
    """The names in "a,b"; ValueError for one that nobody has."""
    names = [name for name in map(str.strip, (words or "").split(",")) if name]
    known = {name for each in workloads for name in each.contenders}
    known |= {family(name) for name in known}
    for name in names:
        if name not in known:
            raise ValueError(
                f"no contender {name!r} in these; there are: {', '.join(sorted(known))}"
            )
    return names


def listing(workloads: Sequence[Workload]) -> str:
    """What --list prints."""
    width = max(len(each.name) for each in workloads)
    lines = [f"{each.name:<{width}}  {each.title}, {each.unit}" for each in workloads]
    lines.append("\ncontenders:")
    for name in PACKAGES:
        some = [
            measure for each in workloads for who, measure in each.contenders.items() if who == name
        ]
        lacking = running.uninstalled(name, some[0]) if some else "in none of these"
        lines.append(f"  {name}" + (f" ({lacking})" if lacking else ""))
    return "\n".join(lines)


def measure(options: argparse.Namespace, workloads: list[Workload], wanted: list[str]) -> Results:
    """Run them, and show each row as it comes; Ctrl-C ends it with what there is."""
    command = shlex.join(["python3", "-m", "benchmarks", *measuring(options.words)])
    packages = [name for names in PACKAGES.values() for name in names]
    results = Results(machine.about(command, packages) | {"rounds": options.rounds})
    print(f"{report.setting(results)}\n", flush=True)
    began = time.monotonic()
    rows = running.run(workloads, wanted, options.rounds, options.quick, Progress(sys.stderr))
    with _ended_by_ctrl_c(results):
        for row in rows:
            results.rows.append(row)
            print(f"{report.block(row)}\n", flush=True)
    results.about |= {
        "seconds": round(time.monotonic() - began),
        "load at end": machine.load(),
    }
    return results


@contextlib.contextmanager
def _ended_by_ctrl_c(results: Results) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        results.about["ended"] = "ended early by Ctrl-C"
        print("\r\x1b[Kended early" if sys.stderr.isatty() else "ended early", file=sys.stderr)


def write(results: Results, options: argparse.Namespace) -> None:
    """All files that were asked for."""
    written: list[object] = []
    if options.json:
        results.save(options.json)
        written.append(options.json)
    if options.markdown:
        options.markdown.write_text(markdown.whole(results), encoding="utf-8")
        written.append(options.markdown)
    if options.plots:
        from benchmarks import plots  # matplotlib takes a while, and may not be there

        written += plots.save_all(results, options.plots)
    if options.readme:
        markdown.rewrite(options.readme, results)
        written.append(options.readme)
    for path in written:
        print(f"wrote {path}")


def measuring(words: list[str]) -> list[str]:
    """The words of a command line that say what is measured, not where it is written."""
    left, kept = iter(words), []
    for word in left:
        if word in ("--json", "--markdown", "--plots"):
            next(left, None)
        elif not word.startswith(("--json=", "--markdown=", "--plots=", "--readme")):
            kept.append(word)
    return kept


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    made = parser()
    options = made.parse_args(words)
    options.words = list(sys.argv[1:] if words is None else words)
    if options.quick:
        options.rounds = 1
    if options.rounds < 1:
        made.error("--rounds must be at least 1")
    if options.plots and importlib.util.find_spec("matplotlib") is None:
        made.error("--plots needs matplotlib: pip install --group bench")
    try:
        results = _results(options)
        if results is not None:
            write(results, options)
    except (ValueError, OSError) as error:  # FormatError is a ValueError
        made.error(str(error))
    return 130 if results is not None and not options.source and "ended" in results.about else 0


def _results(options: argparse.Namespace) -> Results | None:
    """Those of a file, or of a run; none for --list."""
    if options.source:
        results = Results.load(options.source)
        results.rows = selected(results.rows, options.only, options.headline)
        print("\n\n".join([report.setting(results), *map(report.block, results.rows)]))
        return results
    from benchmarks.catalogue import WORKLOADS  # here: --from needs none of it

    workloads = selected(WORKLOADS, options.only, options.headline)
    if options.list:
        print(listing(workloads))
        return None
    return measure(options, workloads, contenders(workloads, options.contenders))
