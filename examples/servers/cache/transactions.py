"""A transaction: commands that are kept until EXEC, and the keys that must not change before.

Since a command is performed between two yields, a transaction is no more than several
commands between two yields. It has a limit, because all others wait meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from examples.servers.cache.replies import Long, pieces
from examples.servers.cache.resp import WORD_COST

if TYPE_CHECKING:
    from examples.servers.cache.store import Store
    from examples.servers.cache.table import Command

COMMANDS = 20_000  # of a transaction: they take some hundredths of a second

WATCHED = 500  # bytes that it takes to watch a key, about, besides its name


class Transaction:
    """What came after MULTI.

    Attributes:
        commands: What is to be performed.
        failed: Whether a command was refused, so that none will be performed.
        size: About how many bytes they take.
    """

    __slots__ = ("commands", "failed", "size")

    def __init__(self) -> None:
        self.commands: list[tuple[Command, list[bytes]]] = []
        self.failed = False
        self.size = 0

    def fail(self) -> None:
        """Perform nothing at EXEC, and keep nothing."""
        self.failed = True
        self.commands.clear()
        self.size = 0

    def add(self, row: Command, words: list[bytes]) -> bool:
        """Keep a command; False if there are too many."""
        if self.failed:
            return True
        if len(self.commands) >= COMMANDS:
            return False
        self.commands.append((row, words))
        self.size += sum(map(len, words)) + WORD_COST * (len(words) + 2)
        return True


class Watch:
    """The keys that a client watches: when one has changed, its next EXEC does nothing.

    Attributes:
        spoiled: Whether one has.
        size: About how many bytes all this takes.
    """

    __slots__ = ("_keys", "_store", "size", "spoiled")

    def __init__(self, store: Store) -> None:
        self.spoiled = False
        self.size = 0
        self._store = store
        self._keys: set[bytes] = set()

    def add(self, keys: Iterable[bytes]) -> None:
        """Watch these, too."""
        for key in set(keys) - self._keys:
            self._store.watch(key, self)
            self._keys.add(key)
            self.size += len(key) + WATCHED

    def end(self) -> None:
        """Watch nothing any more."""
        for key in self._keys:
            self._store.unwatch(key, self)
        self._keys.clear()
        self.size = 0
        self.spoiled = False

    def __len__(self) -> int:
        return len(self._keys)


def in_one(replies: list[bytes | Long]) -> bytes | Long:
    """The reply to EXEC: a list of all these."""
    head = b"*%d\r\n" % len(replies)
    plain = [reply for reply in replies if isinstance(reply, bytes)]
    if len(plain) == len(replies):
        return head + b"".join(plain)
    longs = [reply.size for reply in replies if isinstance(reply, Long)]
    return Long(flattened(head, replies), sum(longs))


def flattened(head: bytes, replies: list[bytes | Long]) -> Iterator[bytes]:
    """The pieces of all replies."""
    yield head
    for reply in replies:
        yield from pieces(reply)
