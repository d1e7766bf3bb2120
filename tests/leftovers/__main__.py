"""The command: print the table, and exit with 1 if anything is left."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence

from .table import FORMS, NAMES, alone, any_cell, heading
from .ways import WAYS

EXAMPLES = """examples:
  python3 -m tests.leftovers                             the whole table
  python3 -m tests.leftovers --only Channel --only get   the calls with that in their name
  python3 -m tests.leftovers --only gather --way cancel  one cell

The columns:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parsed(arguments)
    names = [name for name in NAMES if wanted(name, options.only)]
    began = time.perf_counter()
    left = 0
    print(heading(options.way), flush=True)
    try:
        with alone():
            for number, name in enumerate(names):
                progress(f"{number} of {len(names)}: {name}")
                left += show(name, options.way)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    seconds = time.perf_counter() - began
    print(f"{left:,} things are left, in {len(names)} rows; it took {seconds:.0f} s")
    return 1 if left else 0


def show(name: str, ways: Sequence[str]) -> int:
    """Print a row, and what is left in it; return how much that is."""
    row, notes, left = [f"{name:<32}"], [], 0
    for way in ways:
        found = [any_cell(name, way, form) for form in FORMS]
        row.append(f"{' '.join(written(each) for each in found):>9}")
        for form, each in zip(FORMS, found, strict=True):
            if each:
                left += each.total()
                what = ", ".join(f"{count} {what}" for what, count in each.items())
                notes.append(f"    {way}, {form}: {what}")
    print("".join(row), flush=True)
    for note in notes:
        print(note, flush=True)
    return left


def written(found: Counter[str] | None) -> str:
    return "-" if found is None else str(found.total())


def wanted(name: str, only: Sequence[str] | None) -> bool:
    return not only or any(part.lower() in name.lower() for part in only)


def progress(text: str) -> None:
    """How far it is, on a terminal; the next row is written over it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\x1b[K\r")
        sys.stderr.flush()


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    columns = "\n".join(f"  {way.name:<10} {way.program.__doc__}" for way in WAYS)
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.leftovers",
        description="Count what is still alive of a task that has ended, for every call that it "
        "may end in and every way to end: a number for a generator, and one for a coroutine. "
        "All should be 0.",
        epilog=EXAMPLES + columns,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="CALL", help="part of a row's name")
    parser.add_argument(
        "--way",
        action="append",
        choices=[way.name for way in WAYS],
        metavar="WAY",
        help="only this column",
    )
    options = parser.parse_args(arguments)
    options.way = options.way or [way.name for way in WAYS]
    if not any(wanted(name, options.only) for name in NAMES):
        parser.error(f"there is no such call; the rows are: {'; '.join(NAMES)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
