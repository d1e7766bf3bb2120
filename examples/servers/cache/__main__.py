r"""A cache that speaks Redis's protocol: redis-cli and redis-benchmark take it for one.

All clients work on the same data, and need no lock: a command is performed between two
yields, so it is atomic. What waits (for the client, for an item of a list, for a
message, for a key's time to end) is a system call, or a `select` over several.

    resp.py                 the protocol: bytes in, commands out
    store.py                keys, values and when they end; the call that BLPOP waits with
    pubsub.py, globs.py     messages to many, and patterns
    client.py               a connection: read, perform, write
    table.py                the table of commands
    strings.py, containers.py, session.py     the commands

It is not Redis: there is one database, nothing is kept on disk, and memory that is full
(`--max-memory`) refuses what would take more; nothing is thrown out for it.

Read client.py first. Try: two terminals with `redis-cli -p 25004`: BLPOP in one, and
LPUSH in the other; or `redis-benchmark -p 25004 -c 200 -P 16 -t set,get,lpush -q`.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a folder, not by -m: the checkout is three folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from examples.servers.cache import containers as cache_collections
from examples.servers.cache import session as cache_session
from examples.servers.cache import strings as cache_strings
from examples.servers.cache.client import Client
from examples.servers.cache.pubsub import Hub
from examples.servers.cache.store import Store
from examples.servers.common import make_parser, run_server, serving
from microthreads import ClosedError, Event, Stream, now, spawn

COMMANDS_ARE_IN = (cache_collections, cache_session, cache_strings)
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

EXAMPLES = """examples:
  python3 -m examples.servers.cache
  python3 -m examples.servers.cache --max-memory 256m     refuse to grow further
  python3 -m examples.servers.cache --max-behind 64k      cut slow subscribers off early

Then, in another terminal:
  redis-cli -p 25004 set greeting hello
  redis-cli -p 25004 blpop jobs 0           (waits for: redis-cli -p 25004 lpush jobs 1)
  redis-cli -p 25004 subscribe news         (waits for: redis-cli -p 25004 publish news hi)
  redis-benchmark -p 25004 -c 200 -P 16 -t set,get,incr,lpush,lpop -q
"""


class Cache:
    """What all clients share.

    Attributes:
        store: The data.
        hub: The subscriptions.
        clients: Who is there, by number.
        visits: How many have come.
        performed: How many commands were.
        since: When the server was started.
        closing: Whether it is to stop, and reads no more.
        max_value, max_memory, max_behind: The limits, in bytes.
    """

    def __init__(self, max_value: int, max_memory: float, max_behind: int) -> None:
        self.store = Store()
        self.hub = Hub()
        self.clients: dict[int, Client] = {}
        self.visits = 0
        self.performed = 0
        self.since = now()
        self.closing = False
        self.max_value = max_value
        self.max_memory = max_memory
        self.max_behind = max_behind

    def answer(self, stream: Stream) -> Generator[Any, Any, None]:
        """The handler: answer a client until it leaves."""
        self.visits += 1
        client = Client(self, stream, self.visits)
        self.clients[client.number] = client
        if self.closing:
            self.hear_out(client)
        try:
            yield from client.attend()
        except ClosedError:
            if not client.leaving:
                raise  # and if it is leaving, it was cut off
        finally:
            self.hub.leave(client)
            del self.clients[client.number]

    def hear_no_more(self, stopping: Event) -> Generator[Any, Any, None]:
        """Let all clients go when the server stops: what they have sent by then is answered."""
        yield stopping.wait()
        self.closing = True
        for client in self.clients.values():
            self.hear_out(client)

    def hear_out(self, client: Client) -> None:
        """Let a client's stream end after what has come."""
        with contextlib.suppress(OSError, ClosedError):
            client.stream.plain.shutdown(socket.SHUT_RD)


def cached(args: argparse.Namespace, stopping: Event) -> Generator[Any, Any, None]:
    """The routine that serves."""
    cache = Cache(args.max_value, args.max_memory or float("inf"), args.max_behind)
    yield spawn(cache.store.expire_keys(), daemon=True, name="expire keys")
    yield spawn(cache.hear_no_more(stopping), daemon=True, name="hear no more")
    yield from serving(args, cache.answer, stopping=stopping)


def size(text: str) -> int:
    """`text`, such as 64m, as a number of bytes, for argparse."""
    digits = text.lower().rstrip("b").rstrip("".join(UNITS))
    unit = text.lower().rstrip("b")[len(digits) :]
    if not digits.isdecimal() or unit not in ("", *UNITS):
        raise argparse.ArgumentTypeError(f"a size such as 65536, 64k or 1g is needed, not {text!r}")
    return int(digits) * UNITS.get(unit, 1)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """The options that say how much memory what may take."""
    for name, default, what in (
        ("value", "64m", "of a key or a value"),
        ("memory", "0", "of all data, about; 0: as much as there is"),
        ("behind", "8m", "of the messages that wait for a subscriber; more, and it is cut off"),
    ):
        told = f"{what} (default: %(default)s)"
        parser.add_argument(f"--max-{name}", type=size, default=default, metavar="SIZE", help=told)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    parser = make_parser("cache", "A cache that speaks Redis's protocol.", EXAMPLES, port=25004)
    add_limits(parser)
    args = parser.parse_args(arguments)
    return run_server(args, lambda stopping: cached(args, stopping))


if __name__ == "__main__":
    sys.exit(main())
