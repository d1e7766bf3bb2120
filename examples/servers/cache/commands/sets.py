"""Commands on sets. SPOP takes whatever member comes first, and not one by chance."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from random import choice, choices, sample

from examples.servers.cache.client import Client
from examples.servers.cache.commands.keys import page_of, reply_to_scan
from examples.servers.cache.commands.lists import PASSED, how_many
from examples.servers.cache.replies import EMPTY, Long, array, bulk, integer
from examples.servers.cache.store import cost_of_items
from examples.servers.cache.table import Refused, command, number, options

MANY = 250_000  # members that are looked at, or told, by one command


@command(grows=True)
def sadd(client: Client, key: bytes, member: bytes, *members: bytes) -> bytes:
    """SADD key member [member ...]"""
    found = client.store.change(key, set)
    new = {member, *members} - found
    if new:
        found |= new
        client.store.changed(key, cost_of_items(new))
    return integer(len(new))


@command()
def srem(client: Client, key: bytes, member: bytes, *members: bytes) -> bytes:
    """SREM key member [member ...]"""
    found = client.store.collection(key, set)
    gone = (found or set()) & {member, *members}
    if found is not None and gone:
        found -= gone
        client.store.changed(key, -cost_of_items(gone))
    return integer(len(gone))


@command(grows=True)
def smove(client: Client, key: bytes, to: bytes, member: bytes) -> bytes:
    """SMOVE source destination member"""
    if client.store.find(key) is None:
        return integer(0)
    found, other = client.store.collection(key, set), client.store.collection(to, set)
    assert found is not None
    if member not in found:
        return integer(0)
    if found is not other:
        sadd(client, to, member)
        srem(client, key, member)
    return integer(1)


@command()
def spop(client: Client, key: bytes, count: bytes | None = None) -> bytes | Long:
    """SPOP key [count]"""
    most = 1 if count is None else how_many(count)
    found = client.store.collection(key, set)
    if found is None:
        return client.form.nil if count is None else client.form.members([])
    taken = list(islice(found, most))
    if taken:
        found.difference_update(taken)
        client.store.changed(key, -cost_of_items(taken))
    return client.form.members(taken) if count is not None else bulk(taken[0])


@command()
def srandmember(client: Client, key: bytes, count: bytes | None = None) -> bytes | Long:
    """SRANDMEMBER key [count]"""
    most = 1 if count is None else number(count)
    found = list(client.store.collection(key, set) or ())
    client.turns.count(len(found) // PASSED)
    if count is None:
        return client.form.bulk(choice(found) if found else None)
    if not found:
        return EMPTY
    if most < 0:  # the same one may come several times
        if -most > MANY:
            raise Refused("ERR value is out of range")
        return client.form.values(choices(found, k=-most))
    return client.form.values(sample(found, min(most, len(found))))


@command()
def scard(client: Client, key: bytes) -> bytes:
    """SCARD key"""
    return integer(len(client.store.collection(key, set) or ()))


@command()
def sismember(client: Client, key: bytes, member: bytes) -> bytes:
    """SISMEMBER key member"""
    return integer(member in (client.store.collection(key, set) or ()))


@command()
def smismember(client: Client, key: bytes, member: bytes, *members: bytes) -> bytes:
    """SMISMEMBER key member [member ...]"""
    found = client.store.collection(key, set) or ()
    return array([integer(each in found) for each in (member, *members)])


@command()
def smembers(client: Client, key: bytes) -> bytes | Long:
    """SMEMBERS key"""
    found = client.store.collection(key, set) or set()
    client.turns.count(len(found) // PASSED)
    return client.form.members(list(found))


@command()
def sscan(client: Client, key: bytes, cursor: bytes, *words: bytes) -> Long:
    """SSCAN key cursor [MATCH pattern] [COUNT count]"""
    found = client.store.collection(key, set) or set()
    given = options(words if found else (), MATCH=1, COUNT=1)
    page, after = page_of(client, (set, key), cursor, given, lambda: list(found))
    return Long(reply_to_scan(client, after, given, {each: [each] for each in page}), 0)


# ---- several


@command()
def sunion(client: Client, key: bytes, *keys: bytes) -> bytes | Long:
    """SUNION key [key ...]"""
    return client.form.members(list(combined(client, set.union, (key, *keys))))


@command()
def sinter(client: Client, key: bytes, *keys: bytes) -> bytes | Long:
    """SINTER key [key ...]"""
    return client.form.members(list(combined(client, set.intersection, (key, *keys))))


@command()
def sdiff(client: Client, key: bytes, *keys: bytes) -> bytes | Long:
    """SDIFF key [key ...]"""
    return client.form.members(list(combined(client, set.difference, (key, *keys))))


def combined(client: Client, how: Callable[..., set[bytes]], keys: tuple[bytes, ...]) -> set[bytes]:
    """What becomes of several sets; those that are not there are empty."""
    found = [client.store.collection(key, set) or set() for key in keys]
    size = sum(map(len, found))
    client.turns.count(size // PASSED)
    if size > MANY:
        raise Refused("ERR the sets have too many members")
    return how(*found)
