"""Commands on lists.

What takes its time is that of a deque: items in the middle of a long list are far
from both ends.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from examples.servers.cache.client import Client
from examples.servers.cache.replies import EMPTY, OK, Long, bulk, bulks, integer
from examples.servers.cache.store import ITEM, cost_of_items
from examples.servers.cache.table import (
    SYNTAX,
    Blocked,
    Refused,
    Reply,
    command,
    number,
    seconds,
)

POSITIVE = "ERR value is out of range, must be positive"
AT_ONCE = 1000  # lists that a client may wait for
FEW = 10  # items that are looked for one by one
PASSED = 1000  # items that are passed as fast as a piece of work is done

# ---- putting in


@command(grows=True)
def lpush(client: Client, key: bytes, item: bytes, *items: bytes) -> bytes:
    """LPUSH key item [item ...]"""
    return integer(client.store.push(key, (item, *items), left=True))


@command(grows=True)
def rpush(client: Client, key: bytes, item: bytes, *items: bytes) -> bytes:
    """RPUSH key item [item ...]"""
    return integer(client.store.push(key, (item, *items), left=False))


@command(grows=True)
def lpushx(client: Client, key: bytes, item: bytes, *items: bytes) -> bytes:
    """LPUSHX key item [item ...]"""
    there = client.store.collection(key, deque) is not None
    return lpush(client, key, item, *items) if there else integer(0)


@command(grows=True)
def rpushx(client: Client, key: bytes, item: bytes, *items: bytes) -> bytes:
    """RPUSHX key item [item ...]"""
    there = client.store.collection(key, deque) is not None
    return rpush(client, key, item, *items) if there else integer(0)


@command(grows=True)
def lset(client: Client, key: bytes, index: bytes, item: bytes) -> bytes:
    """LSET key index item"""
    items = client.store.collection(key, deque)
    if items is None:
        raise Refused("ERR no such key")
    place = number(index)
    if not -len(items) <= place < len(items):
        raise Refused("ERR index out of range")
    old, items[place] = items[place], item
    client.store.changed(key, len(item) - len(old))
    return OK


# ---- taking out


@command()
def lpop(client: Client, key: bytes, count: bytes | None = None) -> bytes | Long:
    """LPOP key [count]"""
    return popped(client, key, count, left=True)


@command()
def rpop(client: Client, key: bytes, count: bytes | None = None) -> bytes | Long:
    """RPOP key [count]"""
    return popped(client, key, count, left=False)


def popped(client: Client, key: bytes, count: bytes | None, left: bool) -> bytes | Long:
    """Take items off one end of a list; the reply."""
    store = client.store
    if count is None:
        return client.form.bulk(store.pop(key, left))
    most = how_many(count)
    items = store.collection(key, deque)
    if items is None:
        return client.form.nil_list
    take = items.popleft if left else items.pop
    taken = [take() for _ in range(min(most, len(items)))]
    if taken:
        store.changed(key, -cost_of_items(taken))
    return client.form.values(taken)


def how_many(word: bytes) -> int:
    """A word as a number that is not negative."""
    count = number(word, POSITIVE)
    if count < 0:
        raise Refused(POSITIVE)
    return count


@command()
def blpop(client: Client, key: bytes, word: bytes, *words: bytes) -> Reply:
    """BLPOP key [key ...] timeout"""
    return popped_or_blocked(client, (key, word, *words), left=True)


@command()
def brpop(client: Client, key: bytes, word: bytes, *words: bytes) -> Reply:
    """BRPOP key [key ...] timeout"""
    return popped_or_blocked(client, (key, word, *words), left=False)


def popped_or_blocked(client: Client, words: tuple[bytes, ...], left: bool) -> Reply:
    """Take an item off the first list that there is, or wait for one."""
    keys, wait = words[:-1], seconds(words[-1])
    if len(keys) > AT_ONCE:
        raise Refused(f"ERR a client waits for {AT_ONCE} lists at most")
    for each in keys:
        item = client.store.pop(each, left)
        if item is not None:
            return bulks([each, item])
    return Blocked(list(dict.fromkeys(keys)), left, wait)


@command(grows=True)
def rpoplpush(client: Client, key: bytes, to: bytes) -> bytes:
    """RPOPLPUSH source destination"""
    return lmove(client, key, to, b"RIGHT", b"LEFT")


@command(grows=True)
def lmove(client: Client, key: bytes, to: bytes, where: bytes, there: bytes) -> bytes:
    """LMOVE source destination LEFT | RIGHT LEFT | RIGHT"""
    sides = (where.upper(), there.upper())
    if not {*sides} <= {b"LEFT", b"RIGHT"}:
        raise Refused(SYNTAX)
    left, to_left = (side == b"LEFT" for side in sides)
    store = client.store
    if store.collection(key, deque) is None:
        return client.form.nil
    items = store.change(to, deque)  # or it is refused, and nothing is taken
    if key == to:
        item = items.popleft() if left else items.pop()
        (items.appendleft if to_left else items.append)(item)
        store.changed(key, 0)
        return bulk(item)
    taken = store.pop(key, left)
    assert taken is not None
    store.push(to, [taken], to_left)
    return bulk(taken)


@command()
def lrem(client: Client, key: bytes, count: bytes, item: bytes) -> bytes:
    """LREM key count item"""
    most, items = number(count), client.store.collection(key, deque)
    if items is None:
        return integer(0)
    client.turns.count(len(items) // PASSED)
    if most < 0:
        items.reverse()
    removed = min(abs(most) or len(items), items.count(item))
    for _ in range(removed if removed < FEW else 0):
        items.remove(item)
    if removed >= FEW:
        remove_many(items, item, removed)
    if most < 0:
        items.reverse()
    if removed:
        client.store.changed(key, -removed * (len(item) + ITEM))
    return integer(removed)


def remove_many(items: deque[bytes], item: bytes, count: int) -> None:
    """Remove an item so many times, from the left on, in one go over the list."""
    for _ in range(len(items)):
        each = items.popleft()
        if count and each == item:
            count -= 1
        else:
            items.append(each)


@command()
def ltrim(client: Client, key: bytes, first: bytes, last: bytes) -> bytes:
    """LTRIM key start stop"""
    start, stop = number(first), number(last)
    items = client.store.collection(key, deque)
    if items is None:
        return OK
    begin, end = span(start, stop, len(items))
    if begin == end:
        client.store.remove(key)
        return OK
    gone = [items.pop() for _ in range(len(items) - end)]
    gone += [items.popleft() for _ in range(begin)]
    client.turns.count(len(gone) // PASSED)
    if gone:
        client.store.changed(key, -cost_of_items(gone))
    return OK


# ---- looking


@command()
def llen(client: Client, key: bytes) -> bytes:
    """LLEN key"""
    return integer(len(client.store.collection(key, deque) or ()))


@command()
def lindex(client: Client, key: bytes, index: bytes) -> bytes:
    """LINDEX key index"""
    items = client.store.collection(key, deque)
    if items is None:
        return client.form.nil
    place = number(index)
    return bulk(items[place]) if -len(items) <= place < len(items) else client.form.nil


@command()
def lrange(client: Client, key: bytes, first: bytes, last: bytes) -> bytes | Long:
    """LRANGE key start stop"""
    start, stop = number(first), number(last)
    items = client.store.collection(key, deque)
    if items is None:
        return EMPTY
    begin, end = span(start, stop, len(items))
    client.turns.count(end // PASSED)
    return client.form.values(list(islice(items, begin, end)))


def span(first: int, last: int, length: int) -> tuple[int, int]:
    """Which items a command means that counts from the end by negative numbers."""
    start = max(0, first + length if first < 0 else first)
    stop = min(length, (last + length if last < 0 else last) + 1)
    return (start, stop) if start < stop else (0, 0)
