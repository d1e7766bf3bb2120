"""Who is subscribed to what, and how messages come to them.

Publishing must not wait: one slow subscriber would stop whoever publishes, and the others.
So a message is put into the `Mailbox` of each subscriber, and the task of each writes
what is in there. A mailbox has a size. A subscriber whose mailbox is full is cut off, so
that its memory is free, and told so in the log.

A topic is a channel or a pattern. Subscribers to a topic get a message in the order in
which they subscribed.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from examples.servers.cache.globs import matcher
from examples.servers.cache.replies import bulks
from microthreads import Event

LETTER = 64  # bytes that a message takes in a mailbox, besides its own


class Topic(NamedTuple):
    """What one can subscribe to.

    Attributes:
        name: Of the channel, or the pattern.
        pattern: Whether it is one.
    """

    name: bytes
    pattern: bool


class Subscriber(Protocol):
    """Whom messages are delivered to.

    Attributes:
        topics: What it is subscribed to, in order.
    """

    topics: dict[Topic, None]

    def deliver(self, message: bytes) -> None:
        """Put a message into the mailbox. A plain call.

        Args:
            message: All of it but the mark that it begins with, which is the protocol's.
        """


class Mailbox:
    """What is still to be written to a subscriber.

    Args:
        size: How many bytes there may be.

    Attributes:
        filled: Set while there is something.
    """

    __slots__ = ("_letters", "_room", "_size", "filled")

    def __init__(self, size: int) -> None:
        self.filled = Event(name="mail")
        self._letters: list[bytes] = []
        self._size = self._room = size

    def put(self, mark: bytes, letter: bytes) -> bool:
        """Put something in, if there is room; whether there was."""
        self._room -= len(letter) + LETTER
        if self._room < 0:
            self.take()
            return False
        self._letters += mark, letter
        if len(self._letters) == 2:
            self.filled.set()
        return True

    def take(self) -> bytes:
        """All there is, which is no longer in there."""
        taken = b"".join(self._letters)
        self._letters.clear()
        self._room = self._size
        self.filled.clear()
        return taken

    def __bool__(self) -> bool:
        return bool(self._letters)


class Hub:
    """All topics that somebody is subscribed to.

    Attributes:
        channels, patterns: By their names, the subscribers of each, in order.
    """

    def __init__(self) -> None:
        self.channels: dict[bytes, dict[Subscriber, None]] = {}
        self.patterns: dict[bytes, dict[Subscriber, None]] = {}
        self._matchers: dict[bytes, re.Pattern[bytes]] = {}

    def subscribe(self, who: Subscriber, topic: Topic) -> None:
        """Deliver to `who` from now on what is published on a topic."""
        if topic.pattern:
            self._matchers[topic.name] = matcher(topic.name)
        of_kind = self.patterns if topic.pattern else self.channels
        of_kind.setdefault(topic.name, {})[who] = None
        who.topics[topic] = None

    def unsubscribe(self, who: Subscriber, topic: Topic) -> None:
        """Deliver it no longer."""
        if topic not in who.topics:
            return
        del who.topics[topic]
        of_kind = self.patterns if topic.pattern else self.channels
        del of_kind[topic.name][who]
        if not of_kind[topic.name]:
            del of_kind[topic.name]
            if topic.pattern:
                del self._matchers[topic.name]

    def leave(self, who: Subscriber) -> None:
        """Unsubscribe from everything."""
        for topic in list(who.topics):
            self.unsubscribe(who, topic)

    def publish(self, channel: bytes, text: bytes) -> int:
        """Deliver a message to all who are subscribed; how many they are.

        One that is subscribed to the channel and to patterns that match it gets several.
        """
        message = bulks([b"message", channel, text])[1:]
        found = [(who, message) for who in self.channels.get(channel, ())]
        for name, matches in self._matchers.items():
            if matches.fullmatch(channel):
                message = bulks([b"pmessage", name, channel, text])[1:]
                found += [(who, message) for who in self.patterns[name]]
        for who, message in found:
            who.deliver(message)
        return len(found)
