"""Commands on the server."""

from __future__ import annotations

import os
import platform
import resource
import time
from typing import Any

from examples.servers.cache.client import Client
from examples.servers.cache.commands.connection import VERSION, unknown_part
from examples.servers.cache.globs import matcher
from examples.servers.cache.replies import EMPTY, Long, bulks, integer
from examples.servers.cache.table import COMMANDS, Refused, command, shown, wrong_count
from microthreads import now

PATTERNS = 16  # that CONFIG GET takes


@command()
def command_(client: Client, *words: bytes) -> bytes:
    """COMMAND [COUNT | DOCS]: redis-cli asks, and makes do with nothing"""
    asked = words[0].upper() if words else b""
    if asked == b"COUNT":
        return integer(len(COMMANDS) // 2)
    return client.form.head_of_pairs(0) if asked == b"DOCS" else EMPTY


@command()
def time_(client: Client) -> bytes:
    """TIME"""
    seconds, rest = divmod(time.time_ns(), 10**9)
    return bulks([b"%d" % seconds, b"%d" % (rest // 1000)])


@command()
def config(client: Client, what: bytes, *patterns: bytes) -> bytes | Long:
    """CONFIG GET pattern [pattern ...]"""
    if what.upper() != b"GET":
        raise unknown_part("CONFIG", what)
    if not patterns:
        raise Refused(wrong_count("config|get"))
    if len(patterns) > PATTERNS:
        raise Refused(f"ERR {PATTERNS} patterns at most")
    settings = {
        b"appendonly": b"no",
        b"databases": b"1",
        b"maxmemory": b"%d" % limit_of(client),
        b"proto-max-bulk-len": b"%d" % client.cache.max_value,
        b"save": b"",
    }
    matchers = [matcher(pattern.lower()) for pattern in patterns]
    wanted = [name for name in settings if any(each.fullmatch(name) for each in matchers)]
    return client.form.pairs([word for name in wanted for word in (name, settings[name])])


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
    client.turns.count(8)
    return client.form.text("\r\n".join(lines).encode())


def all_facts(client: Client) -> dict[str, dict[str, Any]]:
    """What INFO tells, by sections."""
    cache, store, hub = client.cache, client.store, client.hub
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = {"used_memory": store.used + cache.held, "used_memory_peak_rss_kb": rss}
    keys = {"db0": f"keys={len(store.data)},expires={len(store.deadlines)}"} if store.data else {}
    return {
        "Server": {
            "redis_version": VERSION.decode(),
            "process_id": os.getpid(),
            "python_version": platform.python_version(),
            "uptime_in_seconds": int(now() - cache.since),
        },
        "Clients": {"connected_clients": len(cache.clients), "clients_held_bytes": cache.held},
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
