"""Commands for messages from client to client."""

from __future__ import annotations

from examples.servers.cache.client import Client
from examples.servers.cache.commands.connection import unknown_part
from examples.servers.cache.commands.keys import names_like
from examples.servers.cache.globs import matcher
from examples.servers.cache.pubsub import Mailbox, Topic
from examples.servers.cache.replies import Long, array, bulk, integer
from examples.servers.cache.table import Refused, command

LONGEST = 1024  # bytes of a channel's name: patterns are tried on it
TOPICS = 10_000  # of a client: they are all left when it goes
PATTERNS = 64  # of a client: each message is tried on all
DELIVERED = 4  # messages that are delivered as fast as a piece of work is done


@command()
def publish(client: Client, channel: bytes, text: bytes) -> bytes:
    """PUBLISH channel message"""
    check(channel)
    reached = client.hub.publish(channel, text)
    client.turns.count((reached + len(client.hub.patterns)) // DELIVERED)
    return integer(reached)


def check(channel: bytes) -> None:
    """Refuse the name of a channel that is too long."""
    if len(channel) > LONGEST:
        raise Refused(f"ERR a channel has {LONGEST} bytes at most")


@command(grows=True)
def subscribe(client: Client, name: bytes, *names: bytes) -> bytes:
    """SUBSCRIBE channel [channel ...]"""
    return subscribed(client, b"subscribe", [Topic(each, False) for each in (name, *names)])


@command(grows=True)
def psubscribe(client: Client, name: bytes, *names: bytes) -> bytes:
    """PSUBSCRIBE pattern [pattern ...]"""
    return subscribed(client, b"psubscribe", [Topic(each, True) for each in (name, *names)])


@command()
def unsubscribe(client: Client, *names: bytes) -> bytes:
    """UNSUBSCRIBE [channel ...]"""
    return unsubscribed(client, b"unsubscribe", [Topic(each, False) for each in names], False)


@command()
def punsubscribe(client: Client, *names: bytes) -> bytes:
    """PUNSUBSCRIBE [pattern ...]"""
    return unsubscribed(client, b"punsubscribe", [Topic(each, True) for each in names], True)


def subscribed(client: Client, verb: bytes, topics: list[Topic]) -> bytes:
    """Subscribe to all of these; the reply, which is one for each."""
    for topic in topics:
        if topic.pattern:
            matcher(topic.name)  # or it is refused
        check(topic.name)
    if len(client.topics) + len(topics) > TOPICS:
        raise Refused(f"ERR a client has {TOPICS} subscriptions at most")
    if sum(topic.pattern for topic in [*client.topics, *topics]) > PATTERNS:
        raise Refused(f"ERR a client has {PATTERNS} patterns at most")
    if client.mail is None:
        client.mail = Mailbox(client.cache.max_behind)
    replies = []
    for topic in topics:
        client.hub.subscribe(client, topic)
        replies.append(told(client, verb, topic.name))
    return b"".join(replies)


def unsubscribed(client: Client, verb: bytes, topics: list[Topic], pattern: bool) -> bytes:
    """Unsubscribe from these, or from all there are of the kind; a reply for each."""
    topics = topics or [topic for topic in client.topics if topic.pattern is pattern]
    replies = []
    for topic in topics:
        client.hub.unsubscribe(client, topic)
        replies.append(told(client, verb, topic.name))
    return b"".join(replies) or told(client, verb, None)


def told(client: Client, verb: bytes, name: bytes | None) -> bytes:
    """What a client is told of a subscription, and how many it has now."""
    count = integer(len(client.topics))
    return client.form.push([bulk(verb), client.form.bulk(name), count])


@command()
def pubsub(client: Client, what: bytes, *words: bytes) -> bytes | Long:
    """PUBSUB CHANNELS [pattern] | NUMSUB [channel ...] | NUMPAT"""
    kind, hub = what.upper(), client.hub
    if kind == b"CHANNELS" and len(words) < 2:
        return names_like(client, words[0] if words else b"*", list(hub.channels))
    if kind == b"NUMSUB":
        counts = [[bulk(name), integer(len(hub.channels.get(name, ())))] for name in words]
        return array([reply for each in counts for reply in each])
    if kind == b"NUMPAT" and not words:
        return integer(len(hub.patterns))
    raise unknown_part("PUBSUB", what)
