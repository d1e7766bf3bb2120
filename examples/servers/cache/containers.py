"""Commands on lists, sets and hashes.

What takes its time is that of a deque: items in the middle of a long list are far
from both ends. SPOP takes whatever member comes first, and not one by chance.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from examples.servers.cache.client import Client
from examples.servers.cache.resp import EMPTY, NIL, NIL_ARRAY, bulk, bulks, integer
from examples.servers.cache.store import ITEM, cost_of_items
from examples.servers.cache.table import Blocked, Refused, Reply, command, number, pairs, seconds

POSITIVE = "ERR value is out of range, must be positive"

# ---- lists


@command(grows=True)
def lpush(client: Client, key: bytes, item: bytes, *items: bytes) -> bytes:
    """LPUSH key item [item ...]"""
    return integer(client.store.push(key, (item, *items), left=True))


@command(grows=True)
def rpush(client: Client, key: bytes, item: bytes, *items: bytes) -> bytes:
    """RPUSH key item [item ...]"""
    return integer(client.store.push(key, (item, *items), left=False))


@command()
def lpop(client: Client, key: bytes, count: bytes | None = None) -> bytes:
    """LPOP key [count]"""
    return popped(client, key, count, left=True)


@command()
def rpop(client: Client, key: bytes, count: bytes | None = None) -> bytes:
    """RPOP key [count]"""
    return popped(client, key, count, left=False)


def popped(client: Client, key: bytes, count: bytes | None, left: bool) -> bytes:
    """Take items off one end of a list; the reply."""
    store = client.store
    if count is None:
        return bulk(store.pop(key, left))
    most = how_many(count)
    items = store.collection(key, deque)
    if items is None:
        return NIL_ARRAY
    return bulks([store.pop(key, left) for _ in range(min(most, len(items)))])


def how_many(word: bytes) -> int:
    """A word as a number that is not negative."""
    count = number(word, POSITIVE)
    if count < 0:
        raise Refused(POSITIVE)
    return count


@command()
def blpop(client: Client, key: bytes, *words: bytes) -> Reply:
    """BLPOP key [key ...] timeout"""
    return popped_or_blocked(client, key, words, left=True)


@command()
def brpop(client: Client, key: bytes, *words: bytes) -> Reply:
    """BRPOP key [key ...] timeout"""
    return popped_or_blocked(client, key, words, left=False)


def popped_or_blocked(client: Client, key: bytes, words: tuple[bytes, ...], left: bool) -> Reply:
    """Take an item off the first list that there is, or wait for one."""
    name = b"blpop" if left else b"brpop"
    if not words:
        raise Refused(f"ERR wrong number of arguments for '{name.decode()}' command")
    keys, wait = [key, *words[:-1]], seconds(words[-1])
    for each in keys:
        item = client.store.pop(each, left)
        if item is not None:
            return bulks([each, item])
    return Blocked(list(dict.fromkeys(keys)), left, wait)


@command()
def llen(client: Client, key: bytes) -> bytes:
    """LLEN key"""
    return integer(len(client.store.collection(key, deque) or ()))


@command()
def lrange(client: Client, key: bytes, first: bytes, last: bytes) -> bytes:
    """LRANGE key start stop"""
    start, stop = number(first), number(last)
    items = client.store.collection(key, deque)
    if items is None:
        return EMPTY
    start = max(0, start + len(items) if start < 0 else start)
    stop = min(len(items), (stop + len(items) if stop < 0 else stop) + 1)
    return bulks(islice(items, start, stop)) if start < stop else EMPTY


# ---- sets


@command(grows=True)
def sadd(client: Client, key: bytes, member: bytes, *members: bytes) -> bytes:
    """SADD key member [member ...]"""
    found = client.store.change(key, set)
    new = {member, *members} - found
    found |= new
    client.store.changed(key, cost_of_items(new))
    return integer(len(new))


@command()
def srem(client: Client, key: bytes, member: bytes, *members: bytes) -> bytes:
    """SREM key member [member ...]"""
    found = client.store.collection(key, set)
    if found is None:
        return integer(0)
    gone = found & {member, *members}
    found -= gone
    client.store.changed(key, -cost_of_items(gone))
    return integer(len(gone))


@command()
def spop(client: Client, key: bytes, count: bytes | None = None) -> bytes:
    """SPOP key [count]"""
    most = 1 if count is None else how_many(count)
    found = client.store.collection(key, set)
    if found is None:
        return NIL if count is None else EMPTY
    taken = [found.pop() for _ in range(min(most, len(found)))]
    client.store.changed(key, -cost_of_items(taken))
    return bulks(taken) if count is not None else bulk(taken[0])


@command()
def scard(client: Client, key: bytes) -> bytes:
    """SCARD key"""
    return integer(len(client.store.collection(key, set) or ()))


@command()
def sismember(client: Client, key: bytes, member: bytes) -> bytes:
    """SISMEMBER key member"""
    return integer(member in (client.store.collection(key, set) or ()))


@command()
def smembers(client: Client, key: bytes) -> bytes:
    """SMEMBERS key"""
    return bulks(client.store.collection(key, set) or ())


# ---- hashes


@command(grows=True)
def hset(client: Client, key: bytes, *words: bytes) -> bytes:
    """HSET key field value [field value ...]"""
    new = pairs(words, b"hset")
    found = client.store.change(key, dict)
    before, more = len(found), 0
    for field, value in new.items():
        old = found.get(field)
        more += len(value) - (-len(field) - 2 * ITEM if old is None else len(old))
    found.update(new)
    client.store.changed(key, more)
    return integer(len(found) - before)


@command()
def hget(client: Client, key: bytes, field: bytes) -> bytes:
    """HGET key field"""
    return bulk((client.store.collection(key, dict) or {}).get(field))


@command()
def hdel(client: Client, key: bytes, field: bytes, *fields: bytes) -> bytes:
    """HDEL key field [field ...]"""
    found = client.store.collection(key, dict)
    if found is None:
        return integer(0)
    gone = {each: found.pop(each) for each in {field, *fields} if each in found}
    client.store.changed(key, -cost_of_items(gone) - cost_of_items(gone.values()))
    return integer(len(gone))


@command()
def hlen(client: Client, key: bytes) -> bytes:
    """HLEN key"""
    return integer(len(client.store.collection(key, dict) or ()))


@command()
def hgetall(client: Client, key: bytes) -> bytes:
    """HGETALL key"""
    found = client.store.collection(key, dict) or {}
    return bulks(word for pair in found.items() for word in pair)
