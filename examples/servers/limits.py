"""How slow a client of an HTTP server may be, and the options that say so.

A client that sends a byte a minute, or reads none, would keep its connection for ever,
and a few thousand of them all connections there can be.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

from examples.servers.common import seconds


class Limits(NamedTuple):
    """How slow a client may be, in seconds.

    Attributes:
        idle: Between two requests, and before the first one.
        headers: From the first byte of a request to the end of its headers.
        body: For all of a request's body.
        write: For each 64 KiB of a response to be taken.
    """

    idle: float = 60.0
    headers: float = 10.0
    body: float = 60.0
    write: float = 30.0


PATIENT = Limits()


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options `--idle`, `--header-seconds`, `--body-seconds` and `--write-seconds`."""
    texts = {
        "--idle": ("between two requests", PATIENT.idle),
        "--header-seconds": ("for a request's headers", PATIENT.headers),
        "--body-seconds": ("for a request's body", PATIENT.body),
        "--write-seconds": ("for each 64 KiB to be taken", PATIENT.write),
    }
    group = parser.add_argument_group("how slow a client may be")
    for option, (text, default) in texts.items():
        shown = f"seconds {text} (default: %(default)s)"
        group.add_argument(option, type=seconds, default=default, metavar="SECONDS", help=shown)


def limits_of(args: argparse.Namespace) -> Limits:
    """What these options were."""
    return Limits(args.idle, args.header_seconds, args.body_seconds, args.write_seconds)
