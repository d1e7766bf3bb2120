"""Many clients for the chat server, in one process: what does each message take to arrive?

Each client is one task on one WebSocket. Messages are said at an even rate, by one client
after the other, and carry the time; a room numbers what is said in it, so each
client sees whether it missed anything. The times contain what this process itself takes,
which is about as much as the server's part.

Try: 10,000 clients in 100 rooms, and then in one: the same number of deliveries, but
all at once. `--rate` up to where the latency begins to grow is what the machine can do.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

from examples.servers.chat.__main__ import PORT
from examples.servers.chat.connecting import Link, connect
from examples.servers.common import allow_many_descriptors, port_number, positive, seconds
from microthreads import (
    Event,
    Semaphore,
    TaskGroup,
    move_on_after,
    now,
    run,
    sleep,
    sleep_until,
    timeout,
)

EXAMPLES = """examples:
  python3 -m examples.servers.chat.load --clients 1000
  python3 -m examples.servers.chat.load --clients 10000 --rate 200 --pid 12345
  python3 -m examples.servers.chat.load --clients 10000 --rooms 1 --rate 1
"""
PATIENCE = 30.0  # seconds for the last messages to come
OPENING = 60.0  # seconds for a client to be let in
LONGEST = 900  # characters, beside the time
FASTEST = 3  # messages a second of one client: the server allows 4


class Room:
    """What this process knows of a room.

    Attributes:
        size: How many clients are in it.
        said: How many messages were said in it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.said = 0


class Client:
    """One of many.

    Attributes:
        seen: The number of the last message that it got.
    """

    __slots__ = ("link", "room", "seen")

    def __init__(self, room: Room) -> None:
        self.room = room
        self.link: Link | None = None
        self.seen = 0


class Load:
    """All clients, and what they see."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        tag = random.randbytes(4).hex()  # these rooms are new, so their count begins at 1
        rooms = [Room(f"load {tag} {number}") for number in range(args.rooms)]
        self.clients = [Client(rooms[number % args.rooms]) for number in range(args.clients)]
        self.inside = 0
        self.received = 0
        self.expected = 0
        self.wrong = 0  # messages out of order
        self.latencies = array("d")
        self.gate = Semaphore(args.at_once)
        self.all_inside = Event()

    # One client

    async def live(self, number: int) -> None:
        """Be a client: come in, and then read until the connection ends."""
        client = self.clients[number]
        async with self.gate:
            with timeout(OPENING):
                await self.enter(client, f"client {number}")
        self.inside += 1
        if self.inside == len(self.clients):
            self.all_inside.set()
        assert client.link is not None
        with client.link.stream:
            while data := await client.link.stream.read():
                self.heard(client, data)
                await client.link.answer()
        raise ConnectionError(f"client {number} was sent away: {client.link.frames.ended}")

    async def enter(self, client: Client, name: str) -> None:
        """Connect, join, and wait for the welcome."""
        client.link = link = await connect(self.args.host, self.args.port)
        await link.ask("join", name=name, room=client.room.name)
        while data := await link.stream.read():
            for event in link.events(data):
                if event["type"] == "welcome":
                    client.room.size += 1
                    return
                raise ConnectionError(f"{name} was not let in: {event}")
        raise ConnectionError(f"{name} was not let in")

    def heard(self, client: Client, data: bytes) -> None:
        """Note which messages came, and when."""
        assert client.link is not None
        for event in client.link.events(data):
            if event["type"] == "said":
                self.latencies.append(time.perf_counter() - float(event["text"].split()[0]))
                self.received += 1
                self.wrong += event["id"] != client.seen + 1
                client.seen = event["id"]

    # All of them

    async def talk(self) -> None:
        """Say messages, one client after the other, at the rate that was asked for."""
        began, padding = now(), "x" * self.args.size
        for number in range(int(self.args.seconds * self.args.rate)):
            await sleep_until(began + number / self.args.rate)
            client = self.clients[number * 7919 % len(self.clients)]  # of all rooms, in turn
            assert client.link is not None
            client.room.said += 1
            self.expected += client.room.size
            await client.link.ask("say", text=f"{time.perf_counter()!r} {padding}")

    async def progress(self) -> None:
        """Tell each second how far it is."""
        while True:
            await sleep(1.0)
            print(
                f"  {self.inside:,} clients, {self.received:,} of {self.expected:,} deliveries",
                file=sys.stderr,
                flush=True,
            )

    async def run(self) -> int:
        """Do it all; the exit code."""
        memory = memory_of(self.args.pid)
        async with TaskGroup() as group:
            await group.spawn(self.progress(), name="progress")
            began = now()
            for number in range(len(self.clients)):
                await group.spawn(self.live(number), name=f"client {number}")
            await self.all_inside.wait()
            print(f"{self.inside:,} clients are in, after {now() - began:.1f} s")
            await sleep(1.0)  # they are told who else has come
            self.report_memory(memory)
            gc.collect()
            gc.freeze()  # else collections of this process's own garbage show in the times
            began = now()
            await self.talk()
            with move_on_after(PATIENCE):
                while self.received < self.expected:
                    await sleep(0.01)
            self.report(now() - began)
            group.cancel()
        return 1 if self.lost() or self.wrong else 0

    def lost(self) -> int:
        """How many deliveries did not come."""
        return self.expected - self.received

    def report_memory(self, before: int) -> None:
        """Print what the clients cost the server."""
        if self.args.pid is not None:
            more = memory_of(self.args.pid) - before
            each = more / 1024 / len(self.clients)
            print(f"server memory: {more / 2**20:.1f} MiB more, {each:.1f} KiB a client")

    def report(self, took: float) -> None:
        """Print what was measured."""
        print(f"{self.received:,} deliveries in {took:.1f} s: {self.received / took:,.0f} a second")
        found = sorted(self.latencies)
        if found:
            median, most, nearly, worst = (
                found[min(len(found) - 1, int(len(found) * part))] * 1000
                for part in (0.5, 0.95, 0.99, 1.0)
            )
            print(
                f"from send to receipt: median {median:.1f} ms, 95 % {most:.1f} ms, "
                f"99 % {nearly:.1f} ms, max {worst:.1f} ms"
            )
        print(f"lost: {self.lost():,}; out of order: {self.wrong:,}")


def memory_of(pid: int | None) -> int:
    """The resident memory of a process, in bytes."""
    if pid is None:
        return 0
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python3 -m examples.servers.chat.load",
        description="Have many clients talk at the chat server, and measure.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    args = parser.parse_args(arguments)
    if args.rate > FASTEST * args.clients:
        parser.error(f"--rate: a client says at most {FASTEST} messages a second")
    if args.size > LONGEST:
        parser.error(f"--size: a message has at most {LONGEST} characters")
    return args


def add_options(parser: argparse.ArgumentParser) -> None:
    for name, kind, default, text in (
        ("--clients", positive, 10_000, "how many"),
        ("--rooms", positive, 100, "into how many rooms they go"),
        ("--seconds", seconds, 10.0, "how long they talk"),
        ("--rate", seconds, 100.0, "how many messages they say in a second, all together"),
        ("--size", positive, 40, "how many characters a message has, at least"),
        ("--at-once", positive, 200, "how many connect at the same time"),
        ("--port", port_number, PORT, "the server's port"),
    ):
        text += " (default: %(default)s)"
        parser.add_argument(name, type=kind, default=default, metavar="N", help=text)
    parser.add_argument("--host", default="127.0.0.1", help="the server (default: %(default)s)")
    parser.add_argument("--pid", type=positive, help="its process, to see its memory")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load; return the exit code."""
    args = parsed(arguments)
    allow_many_descriptors()
    try:
        return run(Load(args).run())
    except KeyboardInterrupt:
        return 130
    except ExceptionGroup as failures:
        known, others = failures.split(OSError)
        if known is None or others is not None:
            raise
        print(f"load: {known.exceptions[0]}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
