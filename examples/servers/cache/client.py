"""A client of the cache: its state, and the routine that answers it.

`attend` is all there is to the server's speed: it reads what there is, performs all
commands in it, and writes all replies at once. A client that sends many commands without
waiting (pipelining) costs one read and one write for all of them.

Writing waits until the client takes what is written, and performs no more commands
meanwhile: what is kept for one that does not read is bounded by `BATCH`. But it reads on,
since many clients send all their commands before they read an answer. What they have sent
waits, and has a limit: `--max-behind`. Who sends more than that is cut off.

    attend        waits to read
    answers       performs commands, and says when a turn is over
    write         waits to write, or to read, whichever comes first
    input         a subscriber waits to read, or for a message, whichever comes first
    item_for      BLPOP waits for a list, for the time to be over, or for the client to go
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from examples.servers.cache.pubsub import Mailbox, Topic
from examples.servers.cache.replies import THREE, TWO, Form, Long, bulks, error
from examples.servers.cache.resp import Parser
from examples.servers.cache.table import Blocked, perform
from examples.servers.cache.transactions import Transaction, Watch
from examples.servers.common import shown
from examples.servers.turns import IN_A_TURN, Turns, others_first
from microthreads import Event, Stream, now, select, sleep_until

if TYPE_CHECKING:
    from examples.servers.cache.__main__ import Cache

logger = logging.getLogger("cache")

PACKET = 65536  # bytes that are looked at together
BATCH = 262144  # bytes of replies that are written at once, or a little more
EARLY = 65536  # bytes that a client may send while BLPOP waits, to be looked at later
TOPIC = 500  # bytes that a subscription takes, about, besides its name

Waits = Generator[Any, Any, Any]


class Out:
    """Replies that are to be written together.

    Attributes:
        size: How many bytes they have.
    """

    __slots__ = ("_replies", "size")

    def __init__(self) -> None:
        self._replies: list[bytes] = []
        self.size = 0

    def put(self, reply: bytes) -> None:
        """Put one to the others."""
        self._replies.append(reply)
        self.size += len(reply)

    def taken(self) -> bytes:
        """All of them, which are no longer in there. One alone is not copied."""
        replies, self._replies, self.size = self._replies, [], 0
        return replies[0] if len(replies) == 1 else b"".join(replies)


class Client:
    """One connection.

    Attributes:
        cache, store, hub: What it works on.
        stream: The connection.
        peer: The address of its other end.
        number, name: What CLIENT LIST calls it.
        since: When it came.
        parser: What cuts commands out of what it sends.
        form: The version of the protocol that it speaks.
        stranger: Whether it has still to give the password.
        topics: What it is subscribed to.
        mail: What was published, and is still to be written to it.
        transaction: What it has sent since MULTI, if it has.
        watch: The keys that it watches.
        early: What it has sent, and is not looked at yet.
        ended: Whether it sends no more.
        held: How many bytes of it are kept that no data has, and no mailbox.
        leaving: Whether the connection is to end.
        last: The name of the last command.
        turns: How much others have let it do; commands that take long count by it.
    """

    __slots__ = (
        "cache", "early", "ended", "form", "held", "hub", "last", "leaving", "mail", "name",
        "number", "parser", "peer", "since", "store", "stranger", "stream", "topics",
        "transaction", "turns", "watch",
    )  # fmt: skip

    def __init__(self, cache: Cache, stream: Stream, number: int) -> None:
        self.cache = cache
        self.store = cache.store
        self.hub = cache.hub
        self.stream = stream
        self.peer: Any = stream.peername
        self.number = number
        self.since = now()
        self.parser = Parser(cache.max_value)
        self.turns = Turns()
        self.mail: Mailbox | None = None  # made at the first subscription
        self.watch: Watch | None = None  # made at the first WATCH
        self.topics: dict[Topic, None] = {}
        self.early = bytearray()
        self.ended = self.leaving = False
        self.held = 0
        self.last = ""
        self.reset()

    def reset(self) -> None:
        """Be as a client that has just come."""
        self.name = b""
        self.form: Form = TWO
        self.stranger = bool(self.cache.password)
        self.parser.trusted = not self.stranger
        self.transaction: Transaction | None = None
        self.hub.leave(self)
        self.unwatch()

    def unwatch(self) -> None:
        """Watch no key any more."""
        if self.watch is not None:
            self.watch.end()

    def welcome(self) -> None:
        """It has given the password."""
        self.stranger, self.parser.trusted = False, True

    def speak(self, version: int) -> None:
        """Go on in a version of the protocol."""
        self.form = THREE if version == 3 else TWO

    # What is kept

    def deliver(self, message: bytes) -> None:
        """Put a message into the mailbox; if there is no room, the client is cut off."""
        if self.leaving or self.mail is None or self.mail.put(self.form.push_mark, message):
            return
        most = self.cache.max_behind
        self.cut(f"it does not read its messages, and {most} bytes are waiting")

    def weigh(self) -> None:
        """Count what is kept of this client; if there is too much of all, one is cut off."""
        size = self.parser.held + len(self.early) + TOPIC * len(self.topics)
        if self.transaction is not None:
            size += self.transaction.size
        if self.watch is not None:
            size += self.watch.size
        self.cache.held += size - self.held
        self.held = size
        self.cache.hold_no_more_than_allowed()

    def cut(self, reason: str) -> None:
        """End the connection at once. A plain call, for others as well."""
        self.leave_for(reason)
        self.cache.held -= self.held
        self.held = 0
        self.hub.leave(self)
        self.stream.abort()

    def leave_for(self, reason: str) -> None:
        """Answer no more, and say why in the log."""
        logger.warning(
            "client %d (%s) was cut off: %s", self.number, shown(self.peer), reason
        )  # a name that would forge a line is escaped where all are written: common.py
        self.leaving = True

    def gone(self) -> None:
        """The connection has ended: nothing is kept."""
        self.unwatch()
        self.hub.leave(self)
        self.cache.held -= self.held
        self.held = 0

    # What is done

    def attend(self) -> Waits:
        """Answer the client until it leaves."""
        while not self.leaving and (data := (yield from self.input())):
            for each in self.answers(data):
                if isinstance(each, Blocked):
                    each = yield from self.item_for(each)
                if each:
                    yield from self.write(each)
                else:
                    yield others_first()
            data = each = b""  # so that a connection that is idle holds no buffer
        if self.mail:
            yield from self.write(self.mail.take())

    def input(self) -> Waits:
        """What the client sends next; b"" at the end. Messages are written meanwhile."""
        while not self.early and not self.ended and not self.leaving:
            if not self.topics:
                return (yield self.stream.read(PACKET))
            assert self.mail is not None
            which, data = yield select(self.stream.read(PACKET), self.mail.filled.wait())
            if which == 0:
                return data
            yield from self.write(self.mail.take())
        data = bytes(self.early[:PACKET])
        del self.early[:PACKET]
        return data

    def answers(self, data: bytes) -> Iterator[bytes | Blocked]:
        """Perform the commands in what came; what is to be written, many replies in one piece.

        It is empty when a turn is over, or is `Blocked` where the client waits for an item.
        """
        parser, out = self.parser, Out()
        while not self.leaving:
            commands = parser.feed(data, IN_A_TURN)
            if self.held or self.topics or self.transaction or self.watch or not parser.idle:
                self.weigh()
            yield from self.replies(commands, out)
            if not parser.more:
                break
            data = b""
            if self.turns.over(IN_A_TURN):
                yield b""
        if parser.error is not None and not self.leaving:
            out.put(error(parser.error))
            self.leaving = True
        if out.size:
            yield out.taken()

    def replies(self, commands: list[list[bytes]], out: Out) -> Iterator[bytes | Blocked]:
        """Perform commands; what is still to be written of the replies is in `out`."""
        over = self.turns.over
        self.cache.performed += len(commands)
        for words in commands:
            if self.leaving:
                break
            if self.mail:
                out.put(self.mail.take())  # published before this command
            reply = perform(self, words)
            if type(reply) is bytes:
                out.put(reply)
            elif isinstance(reply, Long):
                yield from self.pieces(reply, out)
            elif isinstance(reply, Blocked):
                yield from (out.taken(), reply)
            if out.size > BATCH:
                self.turns.count(IN_A_TURN)
                yield out.taken()
            if over(1 + len(words) // 16):
                yield b""

    def pieces(self, reply: Long, out: Out) -> Iterator[bytes]:
        """Take a long reply piece by piece; each is a turn."""
        for piece in reply.pieces:
            out.put(piece)
            if out.size > BATCH:
                yield out.taken()
            yield b""

    def write(self, data: bytes) -> Waits:
        """Write; meanwhile read on, for a client that sends all before it reads."""
        rest = memoryview(data)
        while rest:
            if self.ended:
                return (yield self.stream.write(rest))
            which, done = yield select(self.stream.plain.send(rest), self.stream.read(PACKET))
            if which == 0:
                rest = rest[done:]
            else:
                self.keep(done)

    def keep(self, data: bytes) -> None:
        """Keep for later what was sent, if it is not too much."""
        self.ended = not data
        self.early += data
        self.weigh()
        if len(self.early) > self.cache.max_behind and not self.leaving:
            most = self.cache.max_behind
            self.cut(f"it sends commands and does not read the answers; {most} bytes are waiting")

    def item_for(self, blocked: Blocked) -> Waits:
        """Wait for an item of a list; return the reply."""
        if self.ended:
            self.leaving = True
            return b""
        pops = [self.store.pop_when_there(key, blocked.left) for key in blocked.keys]
        until = now() + blocked.seconds
        over = sleep_until(until) if blocked.seconds else Event(name="never").wait()
        calls = [*pops, over]
        while True:
            # A client that has gone takes nothing away from others: so read on the side.
            reading = [self.stream.read(PACKET)] if len(self.early) < EARLY else []
            which, found = yield select(*calls, *reading)
            if which < len(pops):
                return bulks(found)
            if which == len(pops):
                return self.form.nil_list
            if not found:
                self.leaving = True
                return b""
            self.early += found
            self.weigh()
