"""Commands on strings."""

from __future__ import annotations

from decimal import Decimal, localcontext

from examples.servers.cache.client import Client
from examples.servers.cache.commands.expiry import LASTING, deadline_of
from examples.servers.cache.replies import OK, Long, bulk, integer
from examples.servers.cache.store import check
from examples.servers.cache.table import (
    MOST,
    Refused,
    command,
    decimal,
    number,
    one_of,
    options,
    pairs,
)

LIMITS = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
OVERFLOW = "ERR increment or decrement would overflow"
NOT_A_FLOAT = "ERR value is not a valid float"
COPIED = 65536  # bytes that are copied as fast as a piece of work is done

# ---- one value


@command()
def get(client: Client, key: bytes) -> bytes:
    """GET key"""
    value = client.store.string(key)
    return client.form.nil if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


@command(grows=True)
def set_(client: Client, key: bytes, value: bytes, *words: bytes) -> bytes:
    """SET key value [EX s | PX ms | EXAT time | PXAT time | KEEPTTL] [NX | XX] [GET]"""
    store = client.store
    if not words:
        store.set(key, value)
        store.expire(key, None)
        return OK
    given = options(words, **LASTING, NX=0, XX=0, KEEPTTL=0, GET=0)
    one_of(given, "NX", "XX")
    one_of(given, *LASTING, "KEEPTTL")
    deadline = deadline_of(client, given, "set")
    old = store.string(key) if "GET" in given else None
    there = store.find(key) is not None
    allowed = not there if "NX" in given else there or "XX" not in given
    if allowed:
        store.set(key, value)
        if "KEEPTTL" not in given:
            store.expire(key, deadline)
    return client.form.bulk(old) if "GET" in given else OK if allowed else client.form.nil


@command(grows=True)
def setnx(client: Client, key: bytes, value: bytes) -> bytes:
    """SETNX key value"""
    if client.store.find(key) is not None:
        return integer(0)
    client.store.set(key, value)
    return integer(1)


@command(grows=True)
def setex(client: Client, key: bytes, seconds: bytes, value: bytes) -> bytes:
    """SETEX key seconds value"""
    deadline = deadline_of(client, {"EX": seconds}, "setex")
    client.store.set(key, value)
    client.store.expire(key, deadline)
    return OK


@command(grows=True)
def psetex(client: Client, key: bytes, milliseconds: bytes, value: bytes) -> bytes:
    """PSETEX key milliseconds value"""
    deadline = deadline_of(client, {"PX": milliseconds}, "psetex")
    client.store.set(key, value)
    client.store.expire(key, deadline)
    return OK


@command(grows=True)
def getset(client: Client, key: bytes, value: bytes) -> bytes:
    """GETSET key value"""
    old = client.store.string(key)
    client.store.set(key, value)
    client.store.expire(key, None)
    return client.form.bulk(old)


@command()
def getdel(client: Client, key: bytes) -> bytes:
    """GETDEL key"""
    old = client.store.string(key)
    client.store.remove(key)
    return client.form.bulk(old)


@command()
def getex(client: Client, key: bytes, *words: bytes) -> bytes:
    """GETEX key [EX s | PX ms | EXAT time | PXAT time | PERSIST]"""
    given = options(words, **LASTING, PERSIST=0)
    one_of(given, *LASTING, "PERSIST")
    value = client.store.string(key)
    if value is None:
        return client.form.nil
    if given:
        client.store.expire(key, deadline_of(client, given, "getex"))
        client.store.find(key)  # if that was in the past, it ends at once
    return bulk(value)


# ---- several


@command()
def mget(client: Client, key: bytes, *keys: bytes) -> bytes | Long:
    """MGET key [key ...]"""
    found = [client.store.find(each) for each in (key, *keys)]
    return client.form.values([value if isinstance(value, bytes) else None for value in found])


@command(grows=True)
def mset(client: Client, key: bytes, value: bytes, *words: bytes) -> bytes:
    """MSET key value [key value ...]"""
    new = pairs((key, value, *words), "mset")
    for each in new:
        check(each)  # all of them are set, or none
    for each, its in new.items():
        client.store.set(each, its)
        client.store.expire(each, None)
    return OK


@command(grows=True)
def msetnx(client: Client, key: bytes, value: bytes, *words: bytes) -> bytes:
    """MSETNX key value [key value ...]"""
    new = pairs((key, value, *words), "msetnx")
    if any(client.store.find(each) is not None for each in new):
        return integer(0)
    mset(client, key, value, *words)
    return integer(1)


# ---- parts


@command(grows=True)
def append(client: Client, key: bytes, more: bytes) -> bytes:
    """APPEND key value"""
    old = client.store.string(key) or b""
    return changed(client, key, old + more)


@command()
def strlen(client: Client, key: bytes) -> bytes:
    """STRLEN key"""
    return integer(len(client.store.string(key) or b""))


@command()
def getrange(client: Client, key: bytes, first: bytes, last: bytes) -> bytes:
    """GETRANGE key start end"""
    start, stop = number(first), number(last)
    value = client.store.string(key) or b""
    if start < 0 and stop < 0 and start > stop:
        return bulk(b"")
    start = max(0, start + len(value) if start < 0 else start)
    stop = max(0, stop + len(value) if stop < 0 else stop)
    return bulk(value[start : stop + 1])


@command(grows=True)
def setrange(client: Client, key: bytes, offset: bytes, part: bytes) -> bytes:
    """SETRANGE key offset value"""
    start = number(offset)
    if start < 0:
        raise Refused("ERR offset is out of range")
    old = client.store.string(key)
    if not part:
        return integer(len(old or b""))
    if start + len(part) > client.cache.max_value:
        raise Refused(LIMITS)
    old = old or b""
    return changed(client, key, old[:start].ljust(start, b"\0") + part + old[start + len(part) :])


def changed(client: Client, key: bytes, value: bytes) -> bytes:
    """Give a key its new value, which the old one was copied into; the reply."""
    if len(value) > client.cache.max_value:
        raise Refused(LIMITS)
    client.store.set(key, value)
    client.turns.count(len(value) // COPIED)
    return integer(len(value))


# ---- numbers


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
    """Add to a number; the reply. What is not there counts as 0; what is empty does not."""
    old = client.store.string(key)
    value = sum_of(0 if old is None else number(old), by)
    client.store.set(key, b"%d" % value)
    return integer(value)


def sum_of(first: int, second: int) -> int:
    """The sum of two numbers, if it has 64 bits."""
    if not -MOST - 1 <= first + second <= MOST:
        raise Refused(OVERFLOW)
    return first + second


@command(grows=True)
def incrbyfloat(client: Client, key: bytes, by: bytes) -> bytes:
    """INCRBYFLOAT key increment"""
    old = client.store.string(key)
    first = Decimal(0) if old is None else decimal(old, NOT_A_FLOAT)
    value = decimal_sum(first, decimal(by, NOT_A_FLOAT))
    client.store.set(key, value)
    return bulk(value)


def decimal_sum(first: Decimal, second: Decimal) -> bytes:
    """The sum, with 17 digits after the point at most, as Redis writes it."""
    with localcontext(prec=400):
        text = f"{first + second:.17f}".rstrip("0").rstrip(".")
    return b"0" if text == "-0" else text.encode()
