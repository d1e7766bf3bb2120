"""The command: try hostile things with all calls, print a table, and exit with 1 if one did harm."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import time
from collections.abc import Callable, Sequence

from . import alarms, calls, collector, depths, errors, moments, names, numbers, routines, values
from .case import Case, Cases
from .table import Results
from .trial import aside

EXAMPLES = """examples:
  python3 -m tests.hostile                            all of it; some two minutes
  python3 -m tests.hostile --only numbers             one area
  python3 -m tests.hostile --only Channel.send        what has this in its name
  python3 -m tests.hostile --only "depths: Event.set x in a select"
  python3 -m tests.hostile --only instructions --rounds 500 --seed 7
"""
EVERY = 5.0  # seconds between two lines of progress, where they cannot be overwritten

Areas = dict[str, Callable[[], Cases]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = make_parser().parse_args(arguments)
    began, results = time.monotonic(), Results()
    status = 0
    try:
        for area, cases in areas(options.rounds, options.seed).items():
            if wanted(area, options.only):
                with aside():
                    some = [case for case in cases() if chosen(case, options.only)]
                    attempt_all(area, some, results)
                    gc.collect()
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    if not results.tried:
        print("nothing has such a name", file=sys.stderr)
        return 2
    print(results.table())
    wrong, tried = sum(results.wrong.values()), sum(results.tried.values())
    print(f"\n{tried:,} tried, {wrong:,} went wrong, {time.monotonic() - began:.0f} s")
    if wrong:
        print(f"\n{results.report()}")
    return status or (1 if wrong else 0)


def areas(rounds: int, seed: int) -> Areas:
    """The areas, in the order in which they are run."""
    return {
        "numbers": numbers.cases,
        "errors": errors.cases,
        "calls": calls.cases,
        "routines": routines.cases,
        "values": values.cases,
        "names": names.cases,
        "depths": depths.cases,
        "moments": moments.cases,
        "poller": moments.blocking,
        "instructions": lambda: moments.sampled(rounds, seed),
        "alarms": lambda: alarms.cases(rounds, seed),
        "collector": lambda: collector.cases(rounds),
    }


def wanted(area: str, only: Sequence[str] | None) -> bool:
    """Single instructions only if asked for: CPython runs finalizers at calls and jumps."""
    return area != "instructions" or "instructions" in (only or ())


def chosen(case: Case, only: Sequence[str] | None) -> bool:
    return not only or any(each in str(case) or each == case.kind for each in only)


def attempt_all(area: str, cases: Sequence[Case], results: Results) -> None:
    """Try these cases, and say how far it is."""
    shown = time.monotonic()
    for number, case in enumerate(cases):
        results.add(case, case.attempted())
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{area}: {number + 1:,} of {len(cases):,}\x1b[K\r")
        elif time.monotonic() - shown > EVERY:
            shown = time.monotonic()
            sys.stderr.write(f"{area}: {number + 1:,} of {len(cases):,}\n")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.hostile",
        description="Set hostile tasks beside innocent ones: odd numbers, exceptions, calls, "
        "routines and values, plain calls near the recursion limit and from finalizers, and "
        "signal handlers that raise.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", action="append", metavar="NAME", help="only what has this in its name")
    add("--rounds", type=int, default=30, metavar="N", help="of what is done at random; usually 30")
    add("--seed", type=int, default=0, metavar="S", help="what random moments are made from")
    return parser


if __name__ == "__main__":
    sys.exit(main())
