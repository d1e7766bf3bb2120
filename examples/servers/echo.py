"""Echo, in all the ways there are: TCP, TLS, UDP and Unix sockets, in several processes.

The handler is three lines; all else is options. Read it beside ../echo_server.py,
which does without streams.

Try: `--workers 4`, then `kill -HUP` the first process while clients are busy, and see
that none of them notices; kill one worker, and read the log.
"""

from __future__ import annotations

import argparse
import ssl
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, not by -m: the checkout is two folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.servers.common import announce, make_parser, run_server, serving
from microthreads import Event, Socket, Stream, open_udp, serve_unix

EXAMPLES = """examples:
  python3 -m examples.servers.echo                        over TCP
  python3 -m examples.servers.echo --workers 4            in four processes
  python3 -m examples.servers.echo --udp --port 0         datagrams, any free port
  python3 -m examples.servers.echo --unix /tmp/echo.sock
  python3 -m examples.servers.echo --cert cert.pem --key key.pem    over TLS

Then, in another terminal:
  python3 -m examples.echo_client --connections 1000      (for TCP)
  nc -u 127.0.0.1 25000                                   (for UDP)
  openssl s_client -connect 127.0.0.1:25000               (for TLS)

A certificate to try it with:
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \\
      -keyout key.pem -out cert.pem
"""


def echo(stream: Stream) -> Generator[Any, Any, None]:
    """Send back what comes in, until the client stops sending."""
    while data := (yield stream.read()):
        yield stream.write(data)
        del data  # so that a connection that is idle holds no buffer


def echo_datagrams(host: str, port: int) -> Generator[Any, Any, None]:
    """Send each datagram back to where it came from."""
    with (yield open_udp(local_address=(host, port))) as sock:
        announce([sock.getsockname()])
        while True:
            yield from answer(sock)


def answer(sock: Socket) -> Generator[Any, Any, None]:
    """Receive one datagram, and send it back."""
    try:
        data, address = yield sock.recvfrom()
        yield sock.sendto(data, address)
    except OSError:
        pass  # an earlier one could not be delivered, which is told now


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    parser = make_parser("echo", "Send everything back.", EXAMPLES, port=25000, workers=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--udp", action="store_true", help="datagrams in place of connections")
    how.add_argument("--unix", metavar="PATH", help="a Unix socket at this path")
    how.add_argument("--cert", metavar="FILE", help="encrypt, with this certificate (PEM)")
    parser.add_argument("--key", metavar="FILE", help="its key (default: in the same file)")
    args = parser.parse_args(arguments)
    if args.key and not args.cert:
        parser.error("--key needs --cert")
    if args.udp and args.workers > 1:
        parser.error("--workers needs connections, and --udp has none")
    try:
        context = context_of(args)
    except (OSError, ssl.SSLError) as error:
        parser.error(f"no certificate and key in {args.cert}: {error}")
    return run_server(args, lambda stopping: routine_of(args, context, stopping))


def context_of(args: argparse.Namespace) -> ssl.SSLContext | None:
    """A server's context with the certificate, if there is to be one."""
    if args.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(args.cert, args.key)
    return context


def routine_of(args: argparse.Namespace, context: ssl.SSLContext | None, stopping: Event) -> Any:
    """What serves in the way that the options say."""
    if args.udp:
        return echo_datagrams(args.host, args.port)
    if args.unix:
        return serve_unix(
            echo,
            args.unix,
            workers=args.workers,
            max_connections=args.max_connections,
            grace=args.grace,
            ready=announce,
        )
    return serving(args, echo, stopping=stopping, ssl=context)


if __name__ == "__main__":
    sys.exit(main())
