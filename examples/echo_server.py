"""An echo server: one task for each client, 15,000 of them if need be.

Read it beside threads/echo_server.py, the same program with a thread for each
client: `echo` differs in two `yield`s, and `serve` has its accept loop from the
library. What is new is what threads cannot do well: Ctrl-C and SIGTERM end every
task at its yield, so its `finally` blocks run and its connection is closed.

Try: drive it with `python3 -m examples.echo_client --connections 10000`; give it
`--poller select`, and more connections than select() can watch; take away the
`except OSError`, and see how the failure of one connection is reported.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, not by -m: the library is one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from examples.servers.common import allow_many_descriptors, port_number
from microthreads import Cancelled, Kernel, Socket, accept_loop, current_task, listen

EXAMPLES = """examples:
  python3 -m examples.echo_server
  python3 -m examples.echo_server --port 0                 any free port
  python3 -m examples.echo_server --host :: --poller poll  over IPv6, by poll()

Then, in another terminal:
  python3 -m examples.echo_client --connections 1000
"""


def echo(client: Socket) -> Generator[Any, Any, None]:
    """Send back what comes in, until the client stops sending."""
    with client:
        try:
            while data := (yield client.recv()):
                yield client.sendall(data)
                del data  # so that a connection that is idle holds no buffer
        except OSError:
            pass  # the client is gone
        except ValueError as error:  # more connections than select() can watch
            print(f"echo_server: closing a connection: {error}", file=sys.stderr)


def serve(kernel: Kernel, host: str, port: int) -> Generator[Any, Any, None]:
    """Echo to everybody who connects, until it is cancelled, as SIGTERM does."""
    with listen(host, port, backlog=4096) as listener:
        main = current_task()
        signal.signal(signal.SIGTERM, lambda *_: kernel.post(main.cancel, "SIGTERM"))
        try:
            host, port = listener.getsockname()[:2]
            print(f"listening on {host}:{port}", flush=True)
            yield from accept_loop(listener, echo)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending already


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    allow_many_descriptors()
    try:
        kernel = Kernel(poller=args.poller)
    except ValueError as error:
        parser.error(f"argument --poller: {error}")
    try:
        with kernel:
            kernel.run(serve(kernel, args.host, args.port))
    except Cancelled:  # SIGTERM
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        parser.exit(1, f"echo_server: {error.strerror or error}\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="echo_server",
        description="Send every client's bytes back to it, with a task for each client.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    add(
        "--port",
        type=port_number,
        default=25000,
        help="the port to listen on (default: %(default)s; 0: any that is free)",
    )
    add(
        "--poller",
        choices=("epoll", "poll", "select"),
        help="how to wait for many connections (default: the best there is)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
