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
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from errno import EMFILE, ENFILE
from pathlib import Path

if not __package__:  # run as a file, not by -m: the checkout is two folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.servers.common import make_parser, port_number, run_server, serving, shown
from examples.servers.pipes import Pipes, add_options, connected, peer, reporting
from examples.servers.places import can_be_name, canonical, is_own
from microthreads import Stream, wait_future

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

ASIDE = ThreadPoolExecutor(thread_name_prefix="names")  # looking a name up blocks

Destination = tuple[str, int]


async def proxied(pipes: Pipes, to: Destination, connect_timeout: float, client: Stream) -> None:
    """Connect a client on to the server; without a server, the client is closed."""
    route = f"{peer(client)} to {shown(to)}"
    here = client.plain.getsockname()
    # A name is looked up for this only if the ports are the same.
    if here[1:2] == to[1:] and await wait_future(ASIDE.submit(is_itself, to, *here[:2])):
        logger.warning("%s: that is this proxy itself", route)
        return
    try:
        upstream = await connected(*to, seconds=connect_timeout)
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
    host = host.strip("[]")
    if not can_be_name(host):
        why = "a part of it is empty, or longer than 63 letters"
        raise argparse.ArgumentTypeError(f"{host!r} can be no host's name: {why}")
    return host, number


def is_itself(to: Destination, host: str, port: int) -> bool:
    """Whether connections to there would come back to a proxy that listens on `host`, `port`."""
    if to[1] != port:
        return False
    try:
        listens, targets = addresses(host or None, port), addresses(*to)
    except OSError:  # nobody knows the name now; each client is looked at again
        return False
    everywhere = ("0.0.0.0", "::")
    return any(
        target in listens or (everywhere[":" in target] in listens and is_own(target))
        for target in targets
    )


def addresses(host: str | None, port: int) -> set[str]:
    """The addresses of a host; None: those that stand for all of this machine."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return {canonical(str(address[0])) for *_, address in found}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    about = "Pass TCP connections on to another server, and count the bytes."
    parser = make_parser("proxy", about, EXAMPLES, port=25010, workers=True)
    parser.add_argument(
        "--to", type=destination, required=True, metavar="HOST:PORT", help="where to connect to"
    )
    add_options(parser)
    args = parser.parse_args(arguments)
    if is_itself(args.to, args.host, args.port):
        parser.error(f"--to: {shown(args.to)} is this proxy itself")
    pipes = Pipes(args.idle)
    handler = functools.partial(proxied, pipes, args.to, args.connect_timeout)
    code = run_server(
        args, lambda stopping: reporting(pipes, serving(args, handler, stopping=stopping))
    )
    pipes.tell()
    return code


if __name__ == "__main__":
    sys.exit(main())
