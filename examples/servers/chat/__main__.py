"""The chat server: its options, and its start.

Try: open it in two windows. Then stop it, look at the pages, and start it again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

if not __package__:  # run as a folder, not by -m: the checkout is three folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from examples.servers.chat.guard import Guard
from examples.servers.chat.polling import Polling
from examples.servers.chat.rooms import Hub
from examples.servers.chat.web import Site
from examples.servers.common import make_parser, positive, run_server, seconds, serving
from examples.servers.places import rule
from microthreads import Event, spawn

EXAMPLES = """examples:
  python3 -m examples.servers.chat                    then open http://127.0.0.1:8010
  python3 -m examples.servers.chat --host ""          for others, too
  python3 -m examples.servers.chat --allow-host chat.example.org      behind a proxy for this name
  python3 -m examples.servers.chat --burst 5          who says more than 5 in 5 s has to wait

Then, in other terminals:
  python3 -m examples.servers.chat.client --name ann --room lobby
  python3 -m examples.servers.chat.load --clients 1000

With curl, without WebSockets:
  curl -d '{"type": "join", "name": "bob", "room": "lobby"}' http://127.0.0.1:8010/poll/join
  curl 'http://127.0.0.1:8010/poll/TOKEN?after=0'
  curl -d '{"type": "say", "text": "hello"}' http://127.0.0.1:8010/poll/TOKEN
"""
PORT = 8010


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    text = "Chat rooms, in the browser and in the terminal."
    parser = make_parser("chat", text, EXAMPLES, port=PORT)
    add = partial(add_seconds, parser)
    add("--ping", 30.0, "silence until a client is asked whether it is there")
    add("--wait", 25.0, "how long a poll waits for news")
    add("--keep", 60.0, "how long a member stays in who does not poll")
    parser.add_argument(
        "--burst",
        type=positive,
        default=20,
        metavar="N",
        help="messages that a member may send in 5 seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-host",
        type=rule,
        action="append",
        metavar="NAME",
        help="what the server may be called by pages, with * and ?; repeatable (default: localhost "
        "over loopback, anything over a network; addresses may be used in any case)",
    )
    args = parser.parse_args(arguments)
    return run_server(args, lambda stopping: chat(args, stopping))


def add_seconds(
    parser: argparse.ArgumentParser, name: str, default: float, description: str
) -> None:
    """Add an option that is a number of seconds."""
    text = f"{description} (default: %(default)s)"
    parser.add_argument(name, type=seconds, default=default, metavar="SECONDS", help=text)


async def chat(args: argparse.Namespace, stopping: Event) -> None:
    """Serve, as the options say."""
    hub = Hub(stopping, args.burst)
    polling = Polling(hub, args.wait, args.keep)
    await spawn(hub.close(), daemon=True)
    await spawn(polling.sweep(), daemon=True)
    site = Site(hub, polling, Guard(args.host, args.allow_host or ()), args.ping)
    await serving(args, site.visit, stopping=stopping)


if __name__ == "__main__":
    sys.exit(main())
