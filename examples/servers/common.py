"""What all servers here share: options, the line "listening on", and a graceful end.

A server is a handler, which is given the stream of each client, and these three steps:

    parser = make_parser("echo", "Send everything back.", EXAMPLES, port=25000)
    args = parser.parse_args(arguments)
    return run_server(args, lambda stopping: serving(args, handler, stopping=stopping))

SIGTERM and Ctrl-C end it: nobody new is accepted, those who are there have `--grace`
seconds to finish, and the exit code is 0 (or 130 for Ctrl-C, as of any program).
Started by systemd, it tells when it is ready, and takes the sockets that are given.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microthreads import (
    Event,
    Stream,
    activated_sockets,
    race,
    run,
    sd_notify,
    serve,
    serve_on,
    wait_signal,
)
from microthreads.errors import printable

Handler = Callable[[Stream], Any]


def make_parser(
    name: str, description: str, examples: str, *, port: int, workers: bool = False
) -> argparse.ArgumentParser:
    """A parser with the options of all servers.

    Args:
        name: The server's module, such as "echo".
        description: What it does.
        examples: Command lines, shown at the end of ``--help``.
        port: The default of ``--port``.
        workers: Whether it can be spread over processes, by ``--workers``: so if its
            clients have nothing to do with each other.
    """
    parser = argparse.ArgumentParser(
        prog=f"python3 -m examples.servers.{name}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    add(
        "--port",
        type=port_number,
        default=port,
        help="the port to listen on (default: %(default)s; 0: any that is free)",
    )
    add("--grace", type=seconds, default=10.0, help="seconds to finish in (default: %(default)s)")
    add(
        "--max-connections",
        type=positive,
        metavar="N",
        help="how many at once; others wait",
    )
    if workers:
        add("--workers", type=positive, default=1, metavar="N", help="processes (default: 1)")
    add("--verbose", action="store_true", help="tell what happens on the standard error")
    return parser


def serving(
    args: argparse.Namespace, handler: Handler, *, stopping: Event | None = None, ssl: Any = None
) -> Any:
    """A routine that serves as the options say, or on the sockets that systemd has opened."""
    options: dict[str, Any] = {
        "ssl": ssl,
        "workers": getattr(args, "workers", 1),
        "max_connections": args.max_connections,
        "grace": args.grace,
        "ready": announce,
        "stopping": stopping,
    }
    listeners = activated_sockets()
    if listeners:
        return serve_on(handler, listeners, **options)
    return serve(handler, args.host, args.port, backlog=4096, **options)


def announce(addresses: list[Any]) -> None:
    """Tell the user, and systemd, that clients can come."""
    for address in addresses:
        print(f"listening on {shown(address)}", flush=True)
    sd_notify("READY=1")


def shown(address: Any) -> str:
    """An address, as one writes it in a URL."""
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Records(logging.Formatter):
    """Writes a record so that nothing in it, such as a client's text, passes for another one.

    A record begins at the margin, and nothing else does: not the lines of a traceback, which
    quotes errors that quote clients. A message has as many lines as its author gave it,
    whatever it tells of. What a terminal would obey is escaped.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """The message."""
        text = super().formatMessage(record)
        if "\n" not in str(record.msg):
            return printable(text)
        first, *more = text.split("\n")
        return "\n".join([printable(first), *map(indented, more)])

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The lines of a traceback."""
        return "\n".join(map(indented, super().formatException(ei).split("\n")))


def indented(line: str) -> str:
    """A line that belongs to the one before."""
    return f"  {printable(line)}"


def run_server(args: argparse.Namespace, serving_of: Callable[[Event], Any]) -> int:
    """Run a server until SIGTERM or Ctrl-C; return the exit code.

    Args:
        args: What the options were.
        serving_of: Given the event that is set when the server is to stop, the
            routine that serves.
    """
    level = logging.INFO if args.verbose else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(Records("%(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    allow_many_descriptors()
    try:
        stopping = Event(name="stopping")
        run(until_stopped(serving_of(stopping)), grace=args.grace)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        print(f"{Path(sys.argv[0]).stem}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


async def until_stopped(server: Any) -> None:
    """Serve until SIGTERM comes; then finish, as `serve` does that is cancelled."""
    await race(stop_asked(), server)  # in this order: from "listening on" on, SIGTERM counts


async def stop_asked() -> None:
    """Wait for SIGTERM."""
    await wait_signal(signal.SIGTERM)
    sd_notify("STOPPING=1")


def allow_many_descriptors() -> None:
    """Raise the limit of open files as far as this process may. Many systems start at 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has one more limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def port_number(text: str) -> int:
    """`text` as a port number, for argparse."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def positive(text: str) -> int:
    """`text` as a number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of at least 1 is needed, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """`text` as a number of seconds, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds is needed, not {text!r}")
    return number
