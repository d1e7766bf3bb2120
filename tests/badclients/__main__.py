"""The command: set bad clients on the example servers, and exit with 1 if one did not bear it."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from .campaign import Plan, campaign, only
from .table import BY_NAME, ENTRIES

EXAMPLES = """examples:
  python3 -m tests.badclients                                  all servers; some minutes
  python3 -m tests.badclients --server echo-tcp --server files
  python3 -m tests.badclients --inputs 100000 --seed 7 --seconds 60
  python3 -m tests.badclients --server files --seed 0 --only 1234    one input, alone
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.only is not None and len(options.server or ()) != 1:
        parser.error("--only needs one --server")
    plan = Plan(options.inputs, options.seed, options.seconds, options.slow)
    failed = 0
    try:
        for entry in [BY_NAME[name] for name in options.server or BY_NAME]:
            tell(entry.name)
            try:
                if options.only is not None:
                    only(entry, plan, options.only, tell)
                else:
                    campaign(entry, plan, tell)
            except AssertionError as error:
                failed += 1
                tell(f"{entry.name} FAILS: {error}")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 1 if failed else 0


def tell(text: str) -> None:
    """A line of the report; one that begins with a carriage return is progress only."""
    if not text.startswith("\r"):
        print(text, flush=True)
    elif sys.stderr.isatty():
        print(text, end="\r", file=sys.stderr, flush=True)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.badclients",
        description="Set bad clients on the example servers: resets, silence, greed, floods, "
        "and thousands of inputs that are nonsense.",
        epilog=EXAMPLES + f"\nThe servers are: {', '.join(entry.name for entry in ENTRIES)}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    usual = Plan()
    add("--server", action="append", choices=list(BY_NAME), metavar="NAME", help="only this one")
    add("--inputs", type=int, default=usual.inputs, metavar="N", help="for the fuzzer, each")
    add("--seed", type=int, default=usual.seed, metavar="S", help="what inputs are made from")
    add("--seconds", type=float, default=usual.seconds, help="for which slow clients are there")
    add("--slow", type=int, default=usual.slow, metavar="N", help="how many slow clients")
    add("--only", type=int, metavar="NUMBER", help="one input, alone on a server of its own")
    return parser


if __name__ == "__main__":
    # Servers are in sessions of their own: whatever ends this program, it has to end them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
