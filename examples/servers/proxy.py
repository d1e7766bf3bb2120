"""A TCP proxy: each client gets a connection to one server, and bytes are counted.

What a proxy has to get right is all in pipes.py: ends that are passed on one direction
at a time, resets that stay resets, and a slow reader that slows the writer down.

Try: `--to example.org:80 --verbose`, and ask it by curl; put it in front of echo.py, send
much and read nothing, and see that its memory stays as it is; `kill -USR1` it meanwhile.
"""

from __future__ import annotations

import argparse
import functools
import logging
import sys
from collections.abc import Sequence
from errno import EMFILE, ENFILE
from pathlib import Path

if not __package__:  # run as a file, not by -m: the checkout is two folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.servers.common import make_parser, port_number, run_server, serving, shown
from examples.servers.pipes import Pipes, add_options, peer, reporting
from microthreads import Stream, open_connection

EXAMPLES = """examples:
  python3 -m examples.servers.proxy --to 127.0.0.1:25000            in front of echo.py
  python3 -m examples.servers.proxy --to example.org:80 --verbose   a log line for each client
  python3 -m examples.servers.proxy --to [::1]:8080 --workers 4     in four processes
  python3 -m examples.servers.proxy --to 10.0.0.7:22 --idle 0 --connect-timeout 3

Then, in another terminal:
  curl -H 'Host: example.org' http://127.0.0.1:25010/
  kill -USR1 PID                     (it prints the totals, as it does at its end)
"""

logger = logging.getLogger("proxy")

Destination = tuple[str, int]


async def proxied(pipes: Pipes, to: Destination, connect_timeout: float, client: Stream) -> None:
    """Connect a client on to the server; without a server, the client is closed."""
    route = f"{peer(client)} to {shown(to)}"
    try:
        upstream = await open_connection(*to, seconds=connect_timeout)
    except OSError as error:  # so is TimeoutError
        # That this process has no descriptors left is told once, where it cannot accept.
        level = logging.INFO if error.errno in (EMFILE, ENFILE) else logging.WARNING
        logger.log(level, "%s: %s", route, error)
        return
    await pipes.join(client, upstream, route)


def destination(text: str) -> Destination:
    """`text` as a host and a port, for argparse."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (colon and host.strip("[]")) or (":" in host and not bracketed):
        raise argparse.ArgumentTypeError(f"HOST:PORT or [IPV6]:PORT is needed, not {text!r}")
    number = port_number(port)
    if number == 0:
        raise argparse.ArgumentTypeError("nobody can be connected to at port 0")
    return host.strip("[]"), number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    about = "Pass TCP connections on to another server, and count the bytes."
    parser = make_parser("proxy", about, EXAMPLES, port=25010, workers=True)
    parser.add_argument(
        "--to", type=destination, required=True, metavar="HOST:PORT", help="where to connect to"
    )
    add_options(parser)
    args = parser.parse_args(arguments)
    pipes = Pipes(args.idle)
    handler = functools.partial(proxied, pipes, args.to, args.connect_timeout)
    code = run_server(
        args, lambda stopping: reporting(pipes, serving(args, handler, stopping=stopping))
    )
    pipes.tell()
    return code


if __name__ == "__main__":
    sys.exit(main())
