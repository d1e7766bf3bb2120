"""Commands on the connection, on the server, and for messages between clients."""

from __future__ import annotations

import os
import platform
import resource
from typing import Any

from examples.servers.cache.client import Client
from examples.servers.cache.globs import matcher
from examples.servers.cache.pubsub import Mailbox, Topic
from examples.servers.cache.resp import EMPTY, NIL, OK, array, bulk, bulks, integer, simple
from examples.servers.cache.table import Refused, command, number, options, shown, wrong_count
from examples.servers.common import shown as address
from microthreads import now

VERSION = "7.0.0"  # of the Redis whose words these are; clients ask for it

# ---- the connection


@command(anywhere=True)
def ping(client: Client, text: bytes | None = None) -> bytes:
    """PING [message]"""
    if client.topics:
        return bulks([b"pong", text or b""])
    return simple("PONG") if text is None else bulk(text)


@command()
def echo(client: Client, text: bytes) -> bytes:
    """ECHO message"""
    return bulk(text)


@command(anywhere=True)
def quit_(client: Client, *words: bytes) -> bytes:
    """QUIT"""
    client.leaving = True
    return OK


@command(anywhere=True)
def reset(client: Client) -> bytes:
    """RESET"""
    client.hub.leave(client)
    client.name = b""
    return simple("RESET")


@command()
def select(client: Client, index: bytes) -> bytes:
    """SELECT index"""
    if number(index, "ERR invalid DB index") != 0:
        raise Refused("ERR DB index is out of range")
    return OK


@command()
def hello(client: Client, version: bytes = b"2", *words: bytes) -> bytes:
    """HELLO [version [SETNAME name]]"""
    if number(version, "ERR Protocol version is not an integer or out of range") != 2:
        raise Refused("NOPROTO unsupported protocol version")
    name = options(words, SETNAME=1).get("SETNAME")
    if name is not None:
        set_name(client, name)
    facts = [b"server", b"redis", b"version", VERSION.encode(), b"mode", b"standalone"]
    facts += [b"role", b"master"]
    protocol = [bulk(b"proto"), integer(2), bulk(b"id"), integer(client.number)]
    return array([*map(bulk, facts), *protocol, bulk(b"modules"), EMPTY])


@command()
def client_(client: Client, what: bytes, *words: bytes) -> bytes:
    """CLIENT ID | GETNAME | SETNAME name | SETINFO name value | LIST | INFO"""
    asked = (what.upper(), len(words))
    if asked == (b"SETNAME", 1):
        return set_name(client, words[0])
    if asked == (b"SETINFO", 2):
        return OK
    if asked == (b"GETNAME", 0):
        return bulk(client.name or None)
    if asked == (b"ID", 0):
        return integer(client.number)
    if asked == (b"LIST", 0):
        return bulk(b"".join(line_about(each) for each in client.cache.clients.values()))
    if asked == (b"INFO", 0):
        return bulk(line_about(client))
    raise unknown_part("CLIENT", what)


def set_name(client: Client, name: bytes) -> bytes:
    """Give a client a name; the reply."""
    if any(not 33 <= byte <= 126 for byte in name):
        raise Refused("ERR Client names cannot contain spaces, newlines or special characters.")
    client.name = name
    return OK


def line_about(client: Client) -> bytes:
    """A client's line in the list of clients."""
    patterns = sum(topic.pattern for topic in client.topics)
    facts = f"addr={address(client.peer)} age={now() - client.since:.0f} db=0"
    facts += f" sub={len(client.topics) - patterns} psub={patterns}"
    line = f"id={client.number} {facts} cmd={shown(client.last).lower() or 'NULL'} name="
    return line.encode("utf-8", "surrogateescape") + client.name + b"\n"


def unknown_part(name: str, part: bytes) -> Refused:
    """The error for a subcommand that there is not."""
    return Refused(f"ERR unknown subcommand '{shown(part)}'. Try {name} HELP.")


# ---- messages


@command()
def publish(client: Client, channel: bytes, text: bytes) -> bytes:
    """PUBLISH channel message"""
    return integer(client.hub.publish(channel, text))


@command(anywhere=True)
def subscribe(client: Client, name: bytes, *names: bytes) -> bytes:
    """SUBSCRIBE channel [channel ...]"""
    return subscribed(client, b"subscribe", [Topic(each, False) for each in (name, *names)])


@command(anywhere=True)
def psubscribe(client: Client, name: bytes, *names: bytes) -> bytes:
    """PSUBSCRIBE pattern [pattern ...]"""
    return subscribed(client, b"psubscribe", [Topic(each, True) for each in (name, *names)])


@command(anywhere=True)
def unsubscribe(client: Client, *names: bytes) -> bytes:
    """UNSUBSCRIBE [channel ...]"""
    return unsubscribed(client, b"unsubscribe", [Topic(each, False) for each in names], False)


@command(anywhere=True)
def punsubscribe(client: Client, *names: bytes) -> bytes:
    """PUNSUBSCRIBE [pattern ...]"""
    return unsubscribed(client, b"punsubscribe", [Topic(each, True) for each in names], True)


def subscribed(client: Client, verb: bytes, topics: list[Topic]) -> bytes:
    """Subscribe to all of these; the reply, which is one for each."""
    if client.mail is None:
        client.mail = Mailbox(client.cache.max_behind)
    replies = []
    for topic in topics:
        client.hub.subscribe(client, topic)
        replies.append(array([bulk(verb), bulk(topic.name), integer(len(client.topics))]))
    return b"".join(replies)


def unsubscribed(client: Client, verb: bytes, topics: list[Topic], pattern: bool) -> bytes:
    """Unsubscribe from these, or from all there are of the kind; a reply for each."""
    topics = topics or [topic for topic in client.topics if topic.pattern is pattern]
    replies = []
    for topic in topics:
        client.hub.unsubscribe(client, topic)
        replies.append(array([bulk(verb), bulk(topic.name), integer(len(client.topics))]))
    return b"".join(replies) or array([bulk(verb), NIL, integer(len(client.topics))])


# ---- the server


@command()
def command_(client: Client, *words: bytes) -> bytes:
    """COMMAND [DOCS]: redis-cli asks, and makes do with nothing"""
    return EMPTY


@command()
def config(client: Client, what: bytes, *patterns: bytes) -> bytes:
    """CONFIG GET pattern [pattern ...]"""
    if what.upper() != b"GET":
        raise unknown_part("CONFIG", what)
    if not patterns:
        raise Refused(wrong_count(b"config|get"))
    settings = {
        b"appendonly": b"no",
        b"databases": b"1",
        b"maxmemory": b"%d" % limit_of(client),
        b"proto-max-bulk-len": b"%d" % client.cache.max_value,
        b"save": b"",
    }
    matchers = [matcher(pattern.lower()) for pattern in patterns]
    wanted = [name for name in settings if any(each.fullmatch(name) for each in matchers)]
    return bulks(word for name in wanted for word in (name, settings[name]))


def limit_of(client: Client) -> int:
    """The limit of memory, as Redis has it: 0 for none."""
    most = client.cache.max_memory
    return 0 if most == float("inf") else int(most)


@command()
def info(client: Client, *sections: bytes) -> bytes:
    """INFO [section ...]"""
    wanted = {shown(section).lower() for section in sections} - {"all", "default", "everything"}
    lines = []
    for title, facts in all_facts(client).items():
        if not wanted or title.lower() in wanted:
            lines += [f"# {title}", *(f"{name}:{value}" for name, value in facts.items()), ""]
    return bulk("\r\n".join(lines).encode())


def all_facts(client: Client) -> dict[str, dict[str, Any]]:
    """What INFO tells, by sections."""
    cache, store, hub = client.cache, client.store, client.hub
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = {"used_memory": store.used, "used_memory_peak_rss_kb": rss}
    keys = {"db0": f"keys={len(store.data)},expires={len(store.deadlines)}"} if store.data else {}
    return {
        "Server": {
            "redis_version": VERSION,
            "process_id": os.getpid(),
            "python_version": platform.python_version(),
            "uptime_in_seconds": int(now() - cache.since),
        },
        "Clients": {"connected_clients": len(cache.clients)},
        "Memory": {**memory, "maxmemory": limit_of(client)},
        "Stats": {
            "total_connections_received": cache.visits,
            "total_commands_processed": cache.performed,
            "expired_keys": store.expired,
            "pubsub_channels": len(hub.channels),
            "pubsub_patterns": len(hub.patterns),
        },
        "Keyspace": keys,
    }
