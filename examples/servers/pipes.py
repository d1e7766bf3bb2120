"""Two connections joined: what one sends goes to the other, both ways at once.

proxy.py and socks.py connect a client to some server, and leave the rest to `Pipes`:

    an end      is passed on, and the other direction goes on (half-close)
    a reset     is passed on as a reset: what was cut off must not look complete
    a full side makes the other one wait: a direction holds one piece, and reads no more
                before that is written

A reset shows when something is read or written. Nobody reads from a side that has ended,
nor while its piece waits to be written, so twice a second `Pipes.watch` looks at all pairs.
It also ends those where nothing moves for too long, and sums up what moved.

Read first: `Pair.copy`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import logging
import mmap
import os
import signal
import socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any

from examples.servers.common import seconds, shown
from microthreads import (
    ClosedError,
    Stream,
    TaskGroup,
    now,
    open_connection,
    race,
    sleep,
    spawn,
    wait_signal,
)
from microthreads.errors import printable

logger = logging.getLogger("pipes")

PERIOD = 0.5  # seconds between two looks at all pairs
UP, DOWN = 0, 1  # from the client, and to it


class Pair:
    """A client and the server that it talks to.

    Attributes:
        passed: How many bytes went up, and how many down.
        end: Why it was cut off; empty if it was not.
    """

    def __init__(self, client: Stream, upstream: Stream) -> None:
        self.client = client
        self.upstream = upstream
        self.passed = [0, 0]
        self.counted = [0, 0]  # how much of that is in the totals
        self.end = ""
        self.moved = now()  # when the watch last saw that anything had moved

    async def run(self) -> None:
        """Pass on what comes, until both directions have ended."""
        async with TaskGroup() as group:
            await group.spawn(self.copy(self.upstream, self.client, DOWN))
            await self.copy(self.client, self.upstream, UP)

    async def copy(self, source: Stream, target: Stream, way: int) -> None:
        """Pass on one direction, up to its end, and the end."""
        try:
            while data := await source.read():
                await target.write(data)
                self.passed[way] += len(data)
                del data  # so that a connection that is idle holds no buffer
            await target.write_eof()
        except (OSError, ClosedError) as error:
            self.cut(getattr(error, "strerror", None) or str(error))
        except BaseException:
            self.cut("stopped")
            raise

    def cut(self, why: str) -> None:
        """Reset both connections, whose tasks get `ClosedError`. A plain call."""
        if not self.end:
            self.end = why
            self.client.abort()
            self.upstream.abort()

    def reset_unseen(self) -> bool:
        """Whether one of the two was reset, and no task has met with that."""
        return any(
            stream.plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            for stream in (self.client, self.upstream)
            if not stream.closed
        )

    def news(self) -> list[int]:
        """How much went up and down since the last time this was asked."""
        found = [new - old for new, old in zip(self.passed, self.counted, strict=True)]
        self.counted = list(self.passed)
        return found


class Pipes:
    """All pairs of a process; the totals are those of all workers.

    Args:
        idle: After how many seconds without a byte a pair is cut off; 0: never.
    """

    def __init__(self, idle: float) -> None:
        self.totals = Totals()
        self._idle = idle
        self._pairs: set[Pair] = set()
        self._watched = False

    async def join(self, client: Stream, upstream: Stream, route: str) -> None:
        """Join two connections until both directions have ended; closes `upstream`.

        Args:
            client: Who came.
            upstream: What it was connected to.
            route: How the log calls the two.
        """
        pair, began = Pair(client, upstream), now()
        self._pairs.add(pair)
        self.totals.add(1, 0, 0)
        try:
            with upstream:
                if not self._watched:
                    self._watched = True  # first of all: the next one may come meanwhile
                    await spawn(self.watch(), name="watch all pairs", daemon=True)
                await pair.run()
        finally:
            self._pairs.discard(pair)
            self.totals.add(0, *pair.news())
            up, down = pair.passed
            took = f"{up} bytes up, {down} down, {now() - began:.2f} s"
            logger.info("%s: %s%s", route, took, pair.end and f", cut: {pair.end}")

    async def watch(self) -> None:
        """Twice a second: what was counted, what was reset, and what does not move."""
        while True:
            await sleep(PERIOD)
            self.count()
            for pair in list(self._pairs):
                if pair.reset_unseen():
                    pair.cut("reset")
                elif self._idle and now() - pair.moved > self._idle:
                    pair.cut(f"nothing moved for {self._idle:g} s")

    def count(self) -> None:
        """Add to the totals what has moved since the last time."""
        sums = [0, 0]
        for pair in self._pairs:
            news = pair.news()
            if any(news):
                pair.moved = now()
                sums = [sums[UP] + news[UP], sums[DOWN] + news[DOWN]]
        if any(sums):
            self.totals.add(0, *sums)

    async def told_when_asked(self) -> None:
        """Print the totals whenever SIGUSR1 comes."""
        while True:
            await wait_signal(signal.SIGUSR1)
            self.count()
            self.tell()

    def tell(self) -> None:
        """Print the totals."""
        with contextlib.suppress(OSError):  # nobody reads it any more
            print(self.totals, flush=True)


class Totals:
    """Sums over all connections, in memory that this process shares with its workers.

    The lock is one that the operating system takes back from a process that was killed.
    """

    COUNTS = struct.Struct("=QQQ")  # connections, bytes up, bytes down

    def __init__(self) -> None:
        self._file, path = tempfile.mkstemp()
        os.unlink(path)
        os.ftruncate(self._file, self.COUNTS.size)
        self._memory = mmap.mmap(self._file, self.COUNTS.size)

    def add(self, *counts: int) -> None:
        """Add to the sums: connections, bytes up, bytes down."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            sums = (old + new for old, new in zip(self.read(), counts, strict=True))
            self.COUNTS.pack_into(self._memory, 0, *sums)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def read(self) -> tuple[int, ...]:
        """Connections, bytes up, bytes down."""
        return self.COUNTS.unpack_from(self._memory)

    def __str__(self) -> str:
        connections, up, down = self.read()
        return f"{connections} connections, {up} bytes up, {down} bytes down"


async def connected(
    host: str, port: int, seconds: float, check: Callable[[Any], None] = lambda reached: None
) -> Stream:
    """A connection that a client is to be joined with.

    Args:
        host, port: Where it goes to.
        seconds: How long it may take.
        check: Called with the address that was reached; raises if it must not be.

    Raises:
        OSError: It cannot be made; or it leads to itself, as TCP has it if the port that it
            is made from happens to be the one that nobody listens on.
    """
    upstream = await open_connection(host, port, seconds=seconds)
    try:
        reached = upstream.plain.getpeername()
        if reached == upstream.plain.getsockname():
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        check(reached)
    except BaseException:
        upstream.close()
        raise
    return upstream


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of servers that join connections."""
    add = parser.add_argument
    add(
        "--connect-timeout",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="for a connection to be made (default: %(default)s)",
    )
    add(
        "--idle",
        type=seconds,
        default=3600.0,
        metavar="SECONDS",
        help="without a byte, after which a connection is cut (default: %(default)s; 0: never)",
    )


def reporting(pipes: Pipes, server: Any) -> Any:
    """A routine that serves, and prints the totals whenever SIGUSR1 comes."""
    # Workers get back what was before: then a signal meant for the first process, and
    # sent to all by their name, does not end them.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return race(pipes.told_when_asked(), server)


def peer(stream: Stream) -> str:
    """The address of a client, for the log; it may be gone already, or have none."""
    try:
        return printable(shown(stream.peername)) or "a client without a name"
    except OSError:
        return "a client that is gone"
