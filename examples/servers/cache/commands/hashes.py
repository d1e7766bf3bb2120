"""Commands on hashes."""

from __future__ import annotations

from decimal import Decimal

from examples.servers.cache.client import Client
from examples.servers.cache.commands.keys import page_of, reply_to_scan
from examples.servers.cache.commands.lists import PASSED
from examples.servers.cache.commands.strings import decimal_sum, sum_of
from examples.servers.cache.replies import OK, Long, bulk, integer
from examples.servers.cache.store import ITEM, cost_of_items
from examples.servers.cache.table import command, decimal, number, options, pairs

# ---- changing


@command(grows=True)
def hset(client: Client, key: bytes, field: bytes, value: bytes, *words: bytes) -> bytes:
    """HSET key field value [field value ...]"""
    return integer(put(client, key, pairs((field, value, *words), "hset")))


@command(grows=True)
def hmset(client: Client, key: bytes, field: bytes, value: bytes, *words: bytes) -> bytes:
    """HMSET key field value [field value ...]"""
    put(client, key, pairs((field, value, *words), "hmset"))
    return OK


@command(grows=True)
def hsetnx(client: Client, key: bytes, field: bytes, value: bytes) -> bytes:
    """HSETNX key field value"""
    if field in fields_of(client, key):
        return integer(0)
    return integer(put(client, key, {field: value}))


def fields_of(client: Client, key: bytes) -> dict[bytes, bytes]:
    """A hash, to look at; an empty one if there is none."""
    return client.store.collection(key, dict) or {}


def put(client: Client, key: bytes, new: dict[bytes, bytes]) -> int:
    """Give fields their values; how many of them are new."""
    found = client.store.change(key, dict)
    before, more = len(found), 0
    for field, value in new.items():
        old = found.get(field)
        more += len(value) - (-len(field) - 2 * ITEM if old is None else len(old))
    found.update(new)
    client.store.changed(key, more)
    return len(found) - before


@command()
def hdel(client: Client, key: bytes, field: bytes, *fields: bytes) -> bytes:
    """HDEL key field [field ...]"""
    found = fields_of(client, key)
    gone = {each: found.pop(each) for each in {field, *fields} if each in found}
    if gone:
        client.store.changed(key, -cost_of_items(gone) - cost_of_items(gone.values()))
    return integer(len(gone))


@command(grows=True)
def hincrby(client: Client, key: bytes, field: bytes, by: bytes) -> bytes:
    """HINCRBY key field increment"""
    more, old = number(by), fields_of(client, key).get(field)
    first = 0 if old is None else number(old, "ERR hash value is not an integer")
    value = sum_of(first, more)
    put(client, key, {field: b"%d" % value})
    return integer(value)


@command(grows=True)
def hincrbyfloat(client: Client, key: bytes, field: bytes, by: bytes) -> bytes:
    """HINCRBYFLOAT key field increment"""
    more = decimal(by, "ERR value is not a valid float")
    old = fields_of(client, key).get(field)
    first = Decimal(0) if old is None else decimal(old, "ERR hash value is not a float")
    value = decimal_sum(first, more)
    put(client, key, {field: value})
    return bulk(value)


# ---- looking


@command()
def hget(client: Client, key: bytes, field: bytes) -> bytes:
    """HGET key field"""
    return client.form.bulk(fields_of(client, key).get(field))


@command()
def hmget(client: Client, key: bytes, field: bytes, *fields: bytes) -> bytes | Long:
    """HMGET key field [field ...]"""
    found = fields_of(client, key)
    return client.form.values([found.get(each) for each in (field, *fields)])


@command()
def hexists(client: Client, key: bytes, field: bytes) -> bytes:
    """HEXISTS key field"""
    return integer(field in fields_of(client, key))


@command()
def hlen(client: Client, key: bytes) -> bytes:
    """HLEN key"""
    return integer(len(fields_of(client, key)))


@command()
def hstrlen(client: Client, key: bytes, field: bytes) -> bytes:
    """HSTRLEN key field"""
    return integer(len(fields_of(client, key).get(field, b"")))


@command()
def hkeys(client: Client, key: bytes) -> bytes | Long:
    """HKEYS key"""
    return listed(client, list(fields_of(client, key)))


@command()
def hvals(client: Client, key: bytes) -> bytes | Long:
    """HVALS key"""
    return listed(client, list(fields_of(client, key).values()))


def listed(client: Client, words: list[bytes]) -> bytes | Long:
    """The reply that is these."""
    client.turns.count(len(words) // PASSED)
    return client.form.values(words)


@command()
def hgetall(client: Client, key: bytes) -> bytes | Long:
    """HGETALL key"""
    found = fields_of(client, key)
    client.turns.count(len(found) // PASSED)
    return client.form.pairs([word for pair in found.items() for word in pair])


@command()
def hscan(client: Client, key: bytes, cursor: bytes, *words: bytes) -> Long:
    """HSCAN key cursor [MATCH pattern] [COUNT count]"""
    found = fields_of(client, key)
    given = options(words if found else (), MATCH=1, COUNT=1)
    page, after = page_of(client, (dict, key), cursor, given, lambda: list(found.items()))
    rows = {field: [field, value] for field, value in page}
    return Long(reply_to_scan(client, after, given, rows), 0)
