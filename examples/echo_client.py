"""Drive an echo server with many connections at once, and check every byte.

Three phases, one after the other, so all connections are open at the same time:
from before the first byte is sent until after the last echo has been checked.

    connect   200 at a time, so that the server's queue of new ones never overflows
    exchange  all at once if the messages are small, else as many as MEMORY allows
    close     some by a reset, if --reset says so, with an echo still unread

What to look at: `each` limits how much goes on at once by nothing but tasks that
share an iterator, and `exchange` sends and receives at once by a `select` over
the two, in one task. (Who sends a megabyte first and only then reads fills both
directions' buffers, and waits for a server that waits for him.) Try that: send
by `sendall` instead, and press Ctrl-C twice to see who waits for what.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

if not __package__:  # run as a file, not by -m: the library is one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from microthreads import Kernel, Socket, join, select, sleep, spawn, timeout

T = TypeVar("T")
Work = Callable[[T], Generator[Any, Any, None]]

CONNECTING = 200  # connects in flight at once
MEMORY = 64 << 20  # bytes: how much of all messages may be in flight at once
OWN_DESCRIPTORS = 20  # what the process itself needs: standard streams, the kernel's
VARIETY = 65521  # connections start at different places of the data: as many as this
LIST = 3  # how many errors are told one by one

EXAMPLES = """examples:
  python3 -m examples.echo_client --connections 1000 --messages 10
  python3 -m examples.echo_client --connections 20 --size 1048576
  python3 -m examples.echo_client --connections 100 --reset 30 --half-close 30
  python3 -m examples.echo_client --connections 15000 --hold 60   watch the server's memory
"""


@dataclass
class Tally:
    """What has happened so far."""

    connections: int = 0
    echoes: int = 0
    bytes: int = 0
    errors: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.connections} connections, {self.echoes} echoes, "
            f"{self.bytes} bytes, {len(self.errors)} errors"
        )


class Client(NamedTuple):
    """One connection, and what it does."""

    sock: Socket
    data: memoryview  # all its messages, one behind the other
    resets: bool
    half_closes: bool


class Drive:
    """One run of the client: the plan (the command line's arguments), and its tally."""

    def __init__(self, plan: argparse.Namespace) -> None:
        self.plan = plan
        self.tally = Tally()
        self.clients: list[Client] = []
        self.family, self.address = find(plan.host, plan.port)
        self.length = plan.messages * plan.size
        self.data = memoryview(random.Random(0).randbytes(VARIETY + self.length))

    def run(self) -> Generator[Any, Any, None]:
        """Connect all, exchange all, hold, close all."""
        plan = self.plan
        if sys.stderr.isatty():
            yield spawn(self.show_progress(), daemon=True)
        try:
            with timeout(plan.timeout):
                yield from self.connect(0)  # alone: without a server, this is the only error
            yield from each(self.guarded(self.connect), range(1, plan.connections), CONNECTING)
            at_once = max(1, MEMORY // self.length)
            yield from each(self.guarded(self.talk), self.clients, at_once)
            yield sleep(plan.hold)
            yield from each(self.guarded(self.reset), self.clients, at_once)
        finally:
            for client in self.clients:
                client.sock.close()

    def guarded(self, work: Callable[[T], Generator[Any, Any, None]]) -> Work[T]:
        """`work`, with its failure counted, so that it ends one connection only."""

        def guard(item: T) -> Generator[Any, Any, None]:
            try:
                with timeout(self.plan.timeout):
                    yield from work(item)
            except (OSError, ValueError) as error:
                self.tally.errors.append(str(getattr(error, "strerror", None) or error))

        return guard

    def connect(self, number: int) -> Generator[Any, Any, None]:
        """Open the connection of this number."""
        plan = self.plan
        sock = Socket(socket.socket(self.family, socket.SOCK_STREAM))
        try:
            yield sock.connect(self.address)
        except BaseException:
            sock.close()
            raise
        start = number * 7919 % VARIETY
        data = self.data[start : start + self.length]
        resets = number < plan.reset
        half_closes = plan.reset <= number < plan.reset + plan.half_close
        self.clients.append(Client(sock, data, resets, half_closes))
        self.tally.connections += 1

    def talk(self, client: Client) -> Generator[Any, Any, None]:
        """Have every message of one connection echoed."""
        size = self.length if client.half_closes else self.plan.size
        for start in range(0, self.length, size):
            yield from exchange(client.sock, client.data[start : start + size], client.half_closes)
            self.tally.echoes += size // self.plan.size
            self.tally.bytes += size

    def reset(self, client: Client) -> Generator[Any, Any, None]:
        """End by a reset, with one more message under way whose echo is never read."""
        if client.resets:
            with client.sock as sock:
                yield sock.send(client.data)
                no_linger = (1).to_bytes(4, sys.byteorder) + bytes(4)  # struct linger: on, 0 s
                sock.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)

    def show_progress(self) -> Generator[Any, Any, None]:
        """Tell how far it is, twice a second, until the program ends."""
        try:
            while True:
                print(f"\r{self.tally}", end="", file=sys.stderr, flush=True)
                yield sleep(0.5)
        finally:
            print(file=sys.stderr)


def find(host: str, port: int) -> tuple[int, Any]:
    """The first family and address of `host`. It may ask the network, so not while tasks run."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OSError(f"cannot find {host}: {error.strerror}") from None
    return family, address


def each(work: Work[T], items: Iterable[T], at_once: int) -> Generator[Any, Any, None]:
    """Do `work(item)` for all items, at most so many at once: tasks that share an iterator."""
    items = list(items)
    left = iter(items)

    def worker() -> Generator[Any, Any, None]:
        for item in left:
            yield from work(item)

    workers = []
    for _ in range(min(at_once, len(items))):
        workers.append((yield spawn(worker())))
    for task in workers:
        yield join(task)


def exchange(sock: Socket, message: memoryview, half_close: bool) -> Generator[Any, Any, None]:
    """Send `message` and check its echo, both at once; ConnectionError if it is not that."""
    sent = received = 0
    while received < len(message):
        if sent < len(message):
            which, result = yield select(sock.recv(), sock.send(message[sent:]))
        else:
            which, result = 0, (yield sock.recv())
        if which == 0:
            check(result, message, received)
            received += len(result)
        else:
            sent += result
            if half_close and sent == len(message):
                sock.shutdown(socket.SHUT_WR)
    if half_close and (yield sock.recv()) != b"":
        raise ConnectionError("more came back than was sent")


def check(data: bytes, message: memoryview, received: int) -> None:
    """Raise ConnectionError unless `data` is how `message` goes on."""
    if not data:
        raise ConnectionError(f"closed by the server after {received} of {len(message)} bytes")
    if data != bytes(message[received : received + len(data)]):
        raise ConnectionError(f"a wrong byte among those after the first {received}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the client; return the exit code."""
    parser = make_parser()
    plan = parser.parse_args(arguments)
    check_plan(plan, parser)
    started = time.perf_counter()
    try:
        drive = Drive(plan)
        with Kernel(poller=plan.poller) as kernel:
            kernel.run(drive.run())
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (OSError, ValueError) as error:
        parser.exit(1, f"echo_client: {getattr(error, 'strerror', None) or error}\n")
    print(f"{drive.tally}, {time.perf_counter() - started:.2f} seconds")
    show_errors(drive.tally.errors)
    return 1 if drive.tally.errors else 0


def show_errors(errors: list[str]) -> None:
    """Print the first few, and how many more there are."""
    for text in errors[:LIST]:
        print(f"echo_client: {text}", file=sys.stderr)
    if len(errors) > LIST:
        print(f"echo_client: and {len(errors) - LIST} errors more", file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="echo_client",
        description="Drive an echo server with many connections at once, and check every byte.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="where the server is (default: %(default)s)")
    add("--port", type=positive, default=25000, help="(default: %(default)s)")
    add("--connections", type=positive, default=100, metavar="N", help="(default: %(default)s)")
    add("--messages", type=positive, default=1, metavar="M", help="for each connection")
    add("--size", type=positive, default=1024, metavar="BYTES", help="of each message")
    add("--reset", type=int, default=0, metavar="R", help="how many end by a reset (RST)")
    add(
        "--half-close",
        type=int,
        default=0,
        metavar="H",
        help="how many send all, shut that half, and then read to the end",
    )
    add("--hold", type=float, default=0.0, metavar="SECONDS", help="stay connected, idle")
    add("--timeout", type=float, default=120.0, metavar="SECONDS", help="for one connection")
    add("--poller", choices=("epoll", "poll", "select"), help="(default: the best there is)")
    return parser


def positive(text: str) -> int:
    """`text` as a number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of at least 1 is needed, not {text!r}")
    return int(text)


def check_plan(plan: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse what cannot be done, after raising the limit of open files as far as it goes."""
    if plan.reset < 0 or plan.half_close < 0 or plan.reset + plan.half_close > plan.connections:
        parser.error("--reset and --half-close are parts of --connections, and do not overlap")
    if plan.hold < 0 or plan.timeout < 0:
        parser.error("--hold and --timeout are numbers of seconds, not negative")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has one more limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    need = plan.connections + OWN_DESCRIPTORS
    if soft not in (resource.RLIM_INFINITY, -1) and soft < need:
        parser.exit(
            1,
            f"echo_client: {plan.connections} connections need {need} descriptors, "
            f"and this process may have {soft} (see ulimit -Hn)\n",
        )


if __name__ == "__main__":
    sys.exit(main())
