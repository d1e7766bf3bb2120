"""Commands on strings, and on keys of whatever kind."""

from __future__ import annotations

from examples.servers.cache.client import Client
from examples.servers.cache.globs import matcher
from examples.servers.cache.resp import NIL, OK, bulk, bulks, integer, simple
from examples.servers.cache.table import (
    MOST,
    SYNTAX,
    Refused,
    command,
    number,
    options,
    pairs,
)

LATEST = 10**13  # milliseconds from now that a key may end in, or have ended before
LIMITS = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
KINDS = {"bytes": "string", "deque": "list", "set": "set", "dict": "hash"}
SET_OPTIONS = {"EX": 1, "PX": 1, "NX": 0, "XX": 0, "KEEPTTL": 0, "GET": 0}

# ---- strings


@command()
def get(client: Client, key: bytes) -> bytes:
    """GET key"""
    value = client.store.string(key)
    return NIL if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


@command(grows=True)
def set_(client: Client, key: bytes, value: bytes, *words: bytes) -> bytes:
    """SET key value [EX seconds | PX milliseconds | KEEPTTL] [NX | XX] [GET]"""
    store = client.store
    if not words:
        store.set(key, value)
        store.expire(key, None)
        return OK
    given = options(words, **SET_OPTIONS)
    if len({"EX", "PX", "KEEPTTL"} & given.keys()) > 1 or {"NX", "XX"} <= given.keys():
        raise Refused(SYNTAX)
    deadline = end_of(client, given.get("PX"), 1, "set")
    deadline = deadline or end_of(client, given.get("EX"), 1000, "set")
    old = store.string(key) if "GET" in given else None
    there = store.find(key) is not None
    allowed = not there if "NX" in given else there or "XX" not in given
    if allowed:
        store.set(key, value)
        if "KEEPTTL" not in given:
            store.expire(key, deadline)
    return bulk(old) if "GET" in given else OK if allowed else NIL


@command(grows=True)
def setex(client: Client, key: bytes, seconds: bytes, value: bytes) -> bytes:
    """SETEX key seconds value"""
    deadline = end_of(client, seconds, 1000, "setex")
    client.store.set(key, value)
    client.store.expire(key, deadline)
    return OK


def end_of(client: Client, word: bytes | None, unit: int, name: str) -> float | None:
    """When a key ends that is to last so long, in a unit of so many milliseconds."""
    if word is None:
        return None
    milliseconds = number(word) * unit
    if not 0 < milliseconds < LATEST:
        raise Refused(f"ERR invalid expire time in '{name}' command")
    return client.store.clock() + milliseconds / 1000


@command()
def mget(client: Client, key: bytes, *keys: bytes) -> bytes:
    """MGET key [key ...]"""
    found = [client.store.find(each) for each in (key, *keys)]
    values = [value if isinstance(value, bytes) else None for value in found]
    # A few bytes can ask for one long value a million times.
    if sum(map(len, filter(None, values))) > 2 * client.cache.max_value:
        raise Refused("ERR the reply would be larger than a command may be")
    return bulks(values)


@command(grows=True)
def mset(client: Client, *words: bytes) -> bytes:
    """MSET key value [key value ...]"""
    for key, value in pairs(words, b"mset").items():
        client.store.set(key, value)
        client.store.expire(key, None)
    return OK


@command(grows=True)
def append(client: Client, key: bytes, more: bytes) -> bytes:
    """APPEND key value"""
    value = (client.store.string(key) or b"") + more
    if len(value) > client.cache.max_value:
        raise Refused(LIMITS)
    client.store.set(key, value)
    return integer(len(value))


@command()
def strlen(client: Client, key: bytes) -> bytes:
    """STRLEN key"""
    return integer(len(client.store.string(key) or b""))


@command(grows=True)
def incr(client: Client, key: bytes) -> bytes:
    """INCR key"""
    return added(client, key, 1)


@command(grows=True)
def incrby(client: Client, key: bytes, by: bytes) -> bytes:
    """INCRBY key increment"""
    return added(client, key, number(by))


@command(grows=True)
def decr(client: Client, key: bytes) -> bytes:
    """DECR key"""
    return added(client, key, -1)


@command(grows=True)
def decrby(client: Client, key: bytes, by: bytes) -> bytes:
    """DECRBY key decrement"""
    if number(by) == -MOST - 1:
        raise Refused("ERR decrement would overflow")
    return added(client, key, -number(by))


def added(client: Client, key: bytes, by: int) -> bytes:
    """Add to a number; the reply."""
    value = number(client.store.string(key) or b"0") + by
    if not -MOST - 1 <= value <= MOST:
        raise Refused("ERR increment or decrement would overflow")
    client.store.set(key, b"%d" % value)
    return integer(value)


# ---- keys


@command()
def del_(client: Client, key: bytes, *keys: bytes) -> bytes:
    """DEL key [key ...]"""
    store = client.store
    return integer(sum(store.find(k) is not None and store.remove(k) for k in (key, *keys)))


@command()
def exists(client: Client, key: bytes, *keys: bytes) -> bytes:
    """EXISTS key [key ...]"""
    return integer(sum(client.store.find(each) is not None for each in (key, *keys)))


@command()
def type_(client: Client, key: bytes) -> bytes:
    """TYPE key"""
    value = client.store.find(key)
    return simple("none" if value is None else KINDS[type(value).__name__])


@command()
def keys(client: Client, pattern: bytes) -> bytes:
    """KEYS pattern"""
    matches, store = matcher(pattern).fullmatch, client.store
    return bulks([key for key in list(store.data) if matches(key) and store.find(key) is not None])


@command()
def dbsize(client: Client) -> bytes:
    """DBSIZE"""
    return integer(len(client.store.data))


@command()
def flushall(client: Client, *how: bytes) -> bytes:
    """FLUSHALL [ASYNC | SYNC]"""
    if len(options(how, ASYNC=0, SYNC=0)) > 1:
        raise Refused(SYNTAX)
    client.store.clear()
    return OK


@command()
def flushdb(client: Client, *how: bytes) -> bytes:
    """FLUSHDB [ASYNC | SYNC]"""
    return flushall(client, *how)


@command()
def expire(client: Client, key: bytes, seconds: bytes) -> bytes:
    """EXPIRE key seconds"""
    return end_in(client, key, number(seconds) * 1000, "expire")


@command()
def pexpire(client: Client, key: bytes, milliseconds: bytes) -> bytes:
    """PEXPIRE key milliseconds"""
    return end_in(client, key, number(milliseconds), "pexpire")


def end_in(client: Client, key: bytes, milliseconds: int, name: str) -> bytes:
    """Let a key end in so many milliseconds; the reply."""
    store = client.store
    if abs(milliseconds) > LATEST:
        raise Refused(f"ERR invalid expire time in '{name}' command")
    if store.find(key) is None:
        return integer(0)
    store.expire(key, store.clock() + milliseconds / 1000)
    store.find(key)  # if that was in the past, it ends at once
    return integer(1)


@command()
def ttl(client: Client, key: bytes) -> bytes:
    """TTL key"""
    left = milliseconds_left(client, key)
    return integer((left + 500) // 1000 if left > 0 else left)


@command()
def pttl(client: Client, key: bytes) -> bytes:
    """PTTL key"""
    return integer(milliseconds_left(client, key))


def milliseconds_left(client: Client, key: bytes) -> int:
    """How long a key still lasts; -1: for ever, -2: it is not there."""
    store = client.store
    if store.find(key) is None:
        return -2
    deadline = store.deadlines.get(key)
    return -1 if deadline is None else max(0, round((deadline - store.clock()) * 1000))


@command()
def persist(client: Client, key: bytes) -> bytes:
    """PERSIST key"""
    if client.store.find(key) is None or key not in client.store.deadlines:
        return integer(0)
    client.store.expire(key, None)
    return integer(1)
