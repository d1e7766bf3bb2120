r"""A cache that speaks Redis's protocol: redis-cli and redis-benchmark take it for one.

All clients work on the same data, and need no lock: a command is performed between two
yields, so it is atomic. What waits (for the client, for an item of a list, for a
message, for a key's time to end) is a system call, or a `select` over several.

    resp.py, replies.py     the protocol: bytes in, commands out; replies
    store.py, garbage.py    keys, values and when they end; the call that BLPOP waits with
    pubsub.py, globs.py     messages to many, and patterns
    transactions.py         MULTI and WATCH
    scans.py                SCAN
    client.py               a connection: read, perform, write
    table.py                the table of commands
    commands/               the commands

It is not Redis: there is one database, nothing is kept on disk, and memory that is full
(`--max-memory`) refuses what would take more; nothing is thrown out for it. There are no
scripts. All wait while a command is performed, so it has to be short: it has 65,536 words
at most, a key 8,192 bytes, a pattern 256, a transaction 20,000 commands.

Read client.py first. Try: two terminals with `redis-cli -p 25004`: BLPOP in one, and
LPUSH in the other; or `redis-benchmark -p 25004 -c 200 -P 16 -t set,get,lpush -q`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a folder, not by -m: the checkout is three folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from examples.servers.cache import commands  # noqa: F401  (they put themselves into the table)
from examples.servers.cache.client import Client
from examples.servers.cache.pubsub import Hub
from examples.servers.cache.scans import Scans
from examples.servers.cache.store import Store
from examples.servers.common import make_parser, run_server, serving
from microthreads import ClosedError, Event, Stream, now, spawn

PASSWORD = "CACHE_PASSWORD"  # in the environment
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

EXAMPLES = """examples:
  python3 -m examples.servers.cache
  python3 -m examples.servers.cache --max-memory 256m     refuse to grow further
  python3 -m examples.servers.cache --max-behind 64k      cut clients off early that do not read
  python3 -m examples.servers.cache --password-file FILE  clients give what is in there by AUTH

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
        scans: The walks over all keys that clients are at.
        clients: Who is there, by number.
        visits: How many have come.
        performed: How many commands were.
        since: When the server was started.
        closing: Whether it is to stop, and reads no more.
        held: How many bytes are kept of what clients have sent, and is not performed yet.
        max_value, max_memory, max_behind: The limits, in bytes.
        password: What clients have to give first; empty if there is none.
    """

    def __init__(
        self, max_value: int, max_memory: float, max_behind: int, password: bytes = b""
    ) -> None:
        self.store = Store()
        self.hub = Hub()
        self.scans = Scans()
        self.clients: dict[int, Client] = {}
        self.visits = 0
        self.performed = 0
        self.since = now()
        self.closing = False
        self.held = 0
        self.password = password
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
            client.gone()
            del self.clients[client.number]

    def hold_no_more_than_allowed(self) -> None:
        """Cut off who has sent most of what is kept, as long as that is too much.

        It may take what the data leave, and an eighth of all in any case: so a command
        that comes when memory is full is answered.
        """
        room = max(self.max_memory - self.store.used, self.max_memory / 8)
        while self.held > room:
            most = max(self.clients.values(), key=lambda client: client.held)
            most.cut(f"memory is full, and it has sent {most.held} bytes of unfinished commands")

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
    most = args.max_memory or float("inf")
    cache = Cache(args.max_value, most, args.max_behind, password_of(args))
    yield spawn(cache.store.expire_keys(), daemon=True, name="expire keys")
    yield spawn(cache.store.garbage.free(), daemon=True, name="free garbage")
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
        ("behind", "64m", "that wait for a client that does not read; more, and it is cut off"),
    ):
        told = f"{what} (default: %(default)s)"
        parser.add_argument(f"--max-{name}", type=size, default=default, metavar="SIZE", help=told)


def add_password(parser: argparse.ArgumentParser) -> None:
    """The option that says what clients have to give. (All can read a command line.)"""
    told = f"clients have to give its first line by AUTH; or what {PASSWORD} has"
    parser.add_argument("--password-file", type=first_line, metavar="FILE", help=told)


def first_line(path: str) -> bytes:
    """The first line of a file, for argparse."""
    try:
        line = Path(path).read_bytes().partition(b"\n")[0].rstrip(b"\r")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
    if not line:
        raise argparse.ArgumentTypeError(f"{path} begins with an empty line, which is no password")
    return line


def password_of(args: argparse.Namespace) -> bytes:
    """The password; empty if there is none."""
    return args.password_file or os.environb.get(PASSWORD.encode(), b"")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    parser = make_parser("cache", "A cache that speaks Redis's protocol.", EXAMPLES, port=25004)
    add_limits(parser)
    add_password(parser)
    args = parser.parse_args(arguments)
    return run_server(args, lambda stopping: cached(args, stopping))


if __name__ == "__main__":
    sys.exit(main())
