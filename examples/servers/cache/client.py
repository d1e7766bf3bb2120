"""A client of the cache: its state, and the routine that answers it.

`attend` is all there is to the server's speed: it reads what there is, performs all
commands in it, and writes all replies at once. A client that sends many commands without
waiting (pipelining) costs one read and one write for all of them.

Writing waits until the client takes what is written, so one that does not read
waits by itself, and what is kept for it is bounded: `BATCH`, or the largest reply.

    attend        waits to read, and to write
    listening     a subscriber waits to read, or for a message, whichever comes first
    item_for      BLPOP waits for a list, for the time to be over, or for the client to go
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from examples.servers.cache.pubsub import Mailbox, Topic
from examples.servers.cache.resp import NIL_ARRAY, Parser, bulks, error
from examples.servers.cache.table import Blocked, Reply, perform
from examples.servers.common import shown
from microthreads import Event, Stream, move_on_after, now, select, sleep_until

if TYPE_CHECKING:
    from examples.servers.cache.__main__ import Cache

logger = logging.getLogger("cache")

BATCH = 262144  # bytes of replies that are written at once, or a little more
EARLY = 65536  # bytes that a client may send while BLPOP waits, to be looked at later
LINGER = 1.0  # seconds for a client to read why it is refused

Waits = Generator[Any, Any, Any]


class Client:
    """One connection.

    Attributes:
        cache, store, hub: What it works on.
        stream: The connection.
        peer: The address of its other end.
        number, name: What CLIENT LIST calls it.
        since: When it came.
        topics: What it is subscribed to.
        mail: What was published, and is still to be written to it.
        early: What it sent while it was waiting.
        leaving: Whether the connection is to end.
        last: The name of the last command.
    """

    __slots__ = (
        "cache", "early", "hub", "last", "leaving", "mail", "name", "number", "parser", "peer",
        "since", "store", "stream", "topics",
    )  # fmt: skip

    def __init__(self, cache: Cache, stream: Stream, number: int) -> None:
        self.cache = cache
        self.store = cache.store
        self.hub = cache.hub
        self.stream = stream
        self.peer: tuple[Any, ...] = stream.peername
        self.number = number
        self.name = b""
        self.since = now()
        self.topics: dict[Topic, None] = {}
        self.mail: Mailbox | None = None  # made at the first subscription
        self.parser = Parser(cache.max_value)
        self.early = b""
        self.leaving = False
        self.last = b""

    def deliver(self, message: bytes) -> None:
        """Put a message into the mailbox; if there is no room, the client is cut off."""
        if self.leaving or self.mail is None or self.mail.put(message):
            return
        logger.warning(
            "client %d (%s) was cut off: it does not read its messages, and %d bytes are waiting",
            self.number,
            shown(self.peer),
            self.cache.max_behind,
        )
        self.leaving = True
        self.hub.leave(self)
        self.stream.abort()

    def attend(self) -> Waits:
        """Answer the client until it leaves."""
        stream, parser = self.stream, self.parser
        while not self.leaving:
            if self.early:
                data, self.early = self.early, b""
            elif self.topics:
                data = yield from self.listening()
            else:
                data = yield stream.read()
            if not data:
                break
            for reply in self.replies(parser.feed(data)):
                if isinstance(reply, Blocked):
                    reply = yield from self.item_for(reply)
                yield stream.write(reply)
            data = reply = b""  # so that a connection that is idle holds no buffer
        if self.mail:
            yield stream.write(self.mail.take())
        if parser.error is not None:
            yield from self.see_out()

    def replies(self, commands: list[list[bytes]]) -> Iterator[Reply]:
        """Perform commands; their replies, many in one piece, and what is to be waited for."""
        out: list[bytes] = []
        size = 0
        self.cache.performed += len(commands)
        for words in commands:
            if self.mail:
                out.append(self.mail.take())  # published before this command
            self.last = words[0]
            reply = perform(self, words)
            if type(reply) is bytes:
                out.append(reply)
                size += len(reply)
            if out and (size > BATCH or type(reply) is not bytes):
                yield b"".join(out)
                out, size = [], 0
            if type(reply) is not bytes:
                yield reply
            if self.leaving:
                break
        if self.parser.error is not None and not self.leaving:
            out.append(error(self.parser.error))
            self.leaving = True
        if out:
            yield b"".join(out)

    def listening(self) -> Waits:
        """Write messages until the client sends something; return that."""
        assert self.mail is not None
        while not self.leaving:
            which, data = yield select(self.stream.read(), self.mail.filled.wait())
            if which == 0:
                return data
            yield self.stream.write(self.mail.take())
        return b""

    def item_for(self, blocked: Blocked) -> Waits:
        """Wait for an item of a list; return the reply."""
        pops = [self.store.pop_when_there(key, blocked.left) for key in blocked.keys]
        until = now() + blocked.seconds
        over = sleep_until(until) if blocked.seconds else Event(name="never").wait()
        # A client that has gone takes nothing away from others: so read on the side.
        calls = [*pops, over, self.stream.read()]
        while True:
            which, found = yield select(*calls)
            if which < len(pops):
                return bulks(found)
            if which == len(pops):
                return NIL_ARRAY
            if not found:
                self.leaving = True
                return b""
            self.early += found
            if len(self.early) >= EARLY:
                calls = calls[:-1]

    def see_out(self) -> Waits:
        """Read on for a moment: a connection that is closed unread is reset, and the reply lost."""
        with move_on_after(LINGER):
            yield self.stream.write_eof()
            while (yield self.stream.read()):
                pass
