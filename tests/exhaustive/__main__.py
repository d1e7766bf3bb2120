"""The command: run all programs, print how many, and exit with 1 if anything is wrong."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from .checker import (
    MOST_AT_RANDOM,
    MOST_DEPTH_FIRST,
    Count,
    Progress,
    check_three,
    check_two,
    happens,
)
from .primitives import PRIMITIVES
from .programs import read

EXAMPLES = """examples:
  python3 -m tests.exhaustive                    all of them
  python3 -m tests.exhaustive Lock "Channel(0)"  two of them
  python3 -m tests.exhaustive --one-in 30        a glance at all
"""

COLUMNS = "{:<22} {:>10} {:>10} {:>9} {:>11} {:>10} {:>8}"
HEADINGS = COLUMNS.format(
    "", "programs", "schedules", "programs", "to the end", "schedules", "CPU s"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parsed(arguments)
    if options.replay:
        print("\n".join(options.replay))
        return 0
    print(COLUMNS.format("", "2 tasks", "", "3 tasks", "", "", ""))
    print(HEADINGS, flush=True)
    twos, threes = Count(), Count()
    try:
        check(options.primitive or list(PRIMITIVES), options.one_in, twos, threes)
    except KeyboardInterrupt:
        print(row("until Ctrl-C", twos, threes))
        return 128 + signal.SIGINT
    print(row("all", twos, threes))
    print(notes(twos, threes, options.one_in))
    return 1 if twos.failures or threes.failures else 0


def check(names: Sequence[str], one_in: int, twos: Count, threes: Count) -> None:
    """Check these primitives one after the other, and add to the counts."""
    for name in names:
        two = check_two(PRIMITIVES[name], one_in, progress=progress(f"{name}, 2 tasks"))
        three = check_three(PRIMITIVES[name], one_in, progress=progress(f"{name}, 3 tasks"))
        print(row(name, two, three), flush=True)
        for failure in (*two.failures, *three.failures):
            print(f"\n{failure}\n", flush=True)
        add(twos, two)
        add(threes, three)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.exhaustive",
        description="Run every primitive against its model, under all schedules of all small "
        "programs. All of it takes some two minutes.",
        epilog=EXAMPLES + f"\nThe primitives are: {'; '.join(PRIMITIVES)}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("primitive", nargs="*", help="which to check; by default all")
    parser.add_argument(
        "--one-in", type=int, default=1, metavar="N", help="only one program in N, at random"
    )
    parser.add_argument(
        "--replay",
        metavar="TEXT",
        help="show one schedule of one program, as a report of a failure names it",
    )
    options = parser.parse_args(arguments)
    for name in options.primitive:
        if name not in PRIMITIVES:
            parser.error(f"there is no {name!r}, only {'; '.join(PRIMITIVES)}")
    if options.one_in < 1:
        parser.error("--one-in takes a number from 1")
    if options.replay:
        try:
            options.replay = steps(options.replay)
        except (ValueError, KeyError, IndexError):
            parser.error("--replay takes 'PRIMITIVE: program: choices', as a report prints it")
    return options


def row(name: str, two: Count, three: Count) -> str:
    return COLUMNS.format(
        name,
        f"{two.programs:,}",
        f"{two.schedules:,}",
        f"{three.programs:,}",
        f"{three.complete:,}",
        f"{three.schedules:,}",
        f"{two.seconds + three.seconds:.1f}",
    )


def add(total: Count, count: Count) -> None:
    total.programs += count.programs
    total.complete += count.complete
    total.schedules += count.schedules
    total.seconds += count.seconds
    total.failures += count.failures


def notes(twos: Count, threes: Count, one_in: int) -> str:
    """What the table does not say."""
    which = "All programs" if one_in == 1 else f"One in {one_in} of the programs"
    bounded = threes.programs - threes.complete - len(threes.failures)
    lines = [
        f"{which} of 2 tasks, each under all its schedules.",
        f"Of the sample with 3 tasks {threes.complete:,} programs under all their schedules, and",
        f"{bounded:,} bounded: {MOST_DEPTH_FIRST} schedules depth-first, {MOST_AT_RANDOM} at random.",
    ]
    failures = len(twos.failures) + len(threes.failures)
    if failures:
        lines.append(f"{failures} of the rows above ended at a program that failed.")
    else:
        lines.append("Library and model agree in all of them.")
    return "\n".join(lines)


def progress(what: str) -> Progress:
    """What writes how far it is: over and over on one line, or, in a file, rarely."""
    shown = 0

    def write(count: Count, programs: int) -> None:
        nonlocal shown
        line = f"{what}: {count.programs:,} of {programs:,}, {count.schedules:,} schedules"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line}\x1b[K\r")
            sys.stderr.flush()
        elif count.seconds - shown >= 5:  # of processor time
            shown = int(count.seconds)
            sys.stderr.write(f"{line}\n")

    return write


def steps(text: str) -> list[str]:
    """What happens, step by step, under a schedule that a report gave."""
    name, program, choices = (part.strip() for part in text.split(":"))
    return happens(PRIMITIVES[name], read(program), [int(choice) for choice in choices.split()])


if __name__ == "__main__":
    sys.exit(main())
