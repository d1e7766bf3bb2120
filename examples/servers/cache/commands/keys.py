"""Commands on keys, of whatever kind their values are."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from random import randrange
from typing import Any

from examples.servers.cache.client import Client
from examples.servers.cache.globs import matcher
from examples.servers.cache.replies import OK, Long, bulk, integer, pieces, simple
from examples.servers.cache.table import (
    SYNTAX,
    Refused,
    command,
    number,
    options,
    shown,
)
from examples.servers.turns import Turns

KINDS = {"bytes": "string", "deque": "list", "set": "set", "dict": "hash"}
LOOKED_AT = 500  # names that a pattern is tried on before others have their turn
COPIED = 1000  # keys that are listed as fast as a piece of work is done
TRIED = 4096  # bytes of names that it is tried on, times its own

# ---- what is there


@command()
def del_(client: Client, key: bytes, *keys: bytes) -> bytes:
    """DEL key [key ...]"""
    store = client.store
    return integer(sum(store.find(k) is not None and store.remove(k) for k in (key, *keys)))


@command()
def unlink(client: Client, key: bytes, *keys: bytes) -> bytes:
    """UNLINK key [key ...]"""
    return del_(client, key, *keys)


@command()
def exists(client: Client, key: bytes, *keys: bytes) -> bytes:
    """EXISTS key [key ...]"""
    return integer(sum(client.store.find(each) is not None for each in (key, *keys)))


@command()
def touch(client: Client, key: bytes, *keys: bytes) -> bytes:
    """TOUCH key [key ...]"""
    return exists(client, key, *keys)


@command()
def type_(client: Client, key: bytes) -> bytes:
    """TYPE key"""
    return simple(kind_of(client.store.find(key)))


def kind_of(value: object) -> str:
    """What a client calls the kind of a value."""
    return "none" if value is None else KINDS[type(value).__name__]


@command()
def dbsize(client: Client) -> bytes:
    """DBSIZE"""
    return integer(len(client.store.data))


@command()
def randomkey(client: Client) -> bytes:
    """RANDOMKEY"""
    keys = client.store.keys()
    client.turns.count(len(keys) // COPIED)
    return client.form.bulk(keys[randrange(len(keys))] if keys else None)


@command()
def rename(client: Client, key: bytes, to: bytes) -> bytes:
    """RENAME key newkey"""
    if client.store.find(key) is None:
        raise Refused("ERR no such key")
    client.store.rename(key, to)
    return OK


@command()
def renamenx(client: Client, key: bytes, to: bytes) -> bytes:
    """RENAMENX key newkey"""
    if client.store.find(key) is None:
        raise Refused("ERR no such key")
    if client.store.find(to) is not None:
        return integer(0)
    client.store.rename(key, to)
    return integer(1)


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


# ---- which are there


@command()
def keys(client: Client, pattern: bytes) -> Long:
    """KEYS pattern"""
    return names_like(client, pattern, client.store.keys())


def names_like(client: Client, pattern: bytes, names: list[bytes]) -> Long:
    """The reply that is those of these names that match a pattern."""
    matcher(pattern)  # or it is refused now
    return Long(reply_to_keys(client, pattern, names), 64 * len(names))


def reply_to_keys(client: Client, pattern: bytes, names: list[bytes]) -> Iterator[bytes]:
    """That reply, which takes its time."""
    found = yield from matching(pattern, names)
    yield from pieces(client.form.values(found))


def matching(pattern: bytes, names: Iterable[bytes]) -> Generator[bytes, None, list[bytes]]:
    """The names that match; an empty piece of a reply comes when a turn is over."""
    matches, turns, found = matcher(pattern).fullmatch, Turns(LOOKED_AT), []
    for name in names:
        if matches(name):
            found.append(name)
        if turns.over(1 + len(name) * len(pattern) // TRIED):
            yield b""
    return found


@command()
def scan(client: Client, cursor: bytes, *words: bytes) -> Long:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]"""
    given = options(words, MATCH=1, COUNT=1, TYPE=1)
    found, after = page_of(client, None, cursor, given, client.store.keys)
    there = {name: client.store.find(name) for name in found}
    wanted = shown(given["TYPE"]).lower() if "TYPE" in given else None
    names = [
        name
        for name, value in there.items()
        if value is not None and wanted in (None, kind_of(value))
    ]
    return Long(reply_to_scan(client, after, given, {name: [name] for name in names}), 0)


def page_of(
    client: Client,
    over: object,
    cursor: bytes,
    given: dict[str, Any],
    everything: Callable[[], Sequence[Any]],
) -> tuple[Sequence[Any], int]:
    """The next page of a walk, as the options say."""
    place = number(cursor, "ERR invalid cursor")
    count = number(given.get("COUNT", b"10"))
    if count < 1:
        raise Refused(SYNTAX)
    matcher(given.get("MATCH", b"*"))  # or it is refused now

    def counted() -> Sequence[Any]:
        whole = everything()
        client.turns.count(len(whole) // COPIED)
        return whole

    try:
        found, after = client.cache.scans.page(over, place, count, counted)
    except LookupError:
        raise Refused("ERR invalid cursor") from None
    client.turns.count(len(found) // 8)
    return found, after


def reply_to_scan(
    client: Client, after: int, given: dict[str, Any], rows: dict[bytes, list[bytes]]
) -> Iterator[bytes]:
    """The reply to SCAN and the like: the cursor, and of each name that matches, its words."""
    names: Iterable[bytes] = rows
    if "MATCH" in given:
        names = yield from matching(given["MATCH"], rows)
    yield b"*2\r\n" + bulk(b"%d" % after)
    yield from pieces(client.form.values([word for name in names for word in rows[name]]))
