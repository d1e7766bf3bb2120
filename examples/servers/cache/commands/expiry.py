"""Commands on when keys end."""

from __future__ import annotations

import math
import time
from typing import Any

from examples.servers.cache.client import Client
from examples.servers.cache.replies import integer
from examples.servers.cache.table import Refused, command, number, one_of, shown

LATEST = 10**13  # milliseconds from now that a key may end in, or have ended before
SAME = 0.0005  # seconds that two times may differ by that were given as the same
LASTING = {"EX": 1, "PX": 1, "EXAT": 1, "PXAT": 1}  # options of other commands, with a number


@command()
def expire(client: Client, key: bytes, seconds: bytes, *words: bytes) -> bytes:
    """EXPIRE key seconds [NX | XX | GT | LT]"""
    return end_at(client, key, (seconds, 1000, False), words, "expire")


@command()
def pexpire(client: Client, key: bytes, milliseconds: bytes, *words: bytes) -> bytes:
    """PEXPIRE key milliseconds [NX | XX | GT | LT]"""
    return end_at(client, key, (milliseconds, 1, False), words, "pexpire")


@command()
def expireat(client: Client, key: bytes, seconds: bytes, *words: bytes) -> bytes:
    """EXPIREAT key unix-time-seconds [NX | XX | GT | LT]"""
    return end_at(client, key, (seconds, 1000, True), words, "expireat")


@command()
def pexpireat(client: Client, key: bytes, milliseconds: bytes, *words: bytes) -> bytes:
    """PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]"""
    return end_at(client, key, (milliseconds, 1, True), words, "pexpireat")


def end_at(
    client: Client,
    key: bytes,
    when: tuple[bytes, int, bool],
    words: tuple[bytes, ...],
    name: str,
) -> bytes:
    """Let a key end, if the conditions allow it; the reply.

    Args:
        client, key, words, name: Of the command; the words are its conditions.
        when: A number, how many milliseconds make one of it, and whether it counts from 1970.
    """
    store, given = client.store, conditions(words)
    word, unit, absolute = when
    deadline = on_the_clock(client, number(word) * unit, absolute, name)
    if store.find(key) is None:
        return integer(0)
    if not allowed(given, store.deadlines.get(key), deadline):
        return integer(0)
    store.expire(key, deadline)
    store.find(key)  # if that was in the past, it ends at once
    return integer(1)


def allowed(given: set[str], old: float | None, new: float) -> bool:
    """Whether the conditions let the one time take the place of the other."""
    until = math.inf if old is None else old
    against = {
        "NX": old is not None,
        "XX": old is None,
        "GT": new - until < SAME,
        "LT": until - new < SAME,
    }
    return not any(against[condition] for condition in given)


def conditions(words: tuple[bytes, ...]) -> set[str]:
    """The conditions that come after EXPIRE and the like."""
    given = {shown(word).upper(): word for word in words}
    for name, word in given.items():
        if name not in ("NX", "XX", "GT", "LT"):
            raise Refused(f"ERR Unsupported option {shown(word)}")
    if "NX" in given and len(given) > 1:
        raise Refused("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {"GT", "LT"} <= given.keys():
        raise Refused("ERR GT and LT options at the same time are not compatible")
    return {*given}


def on_the_clock(client: Client, milliseconds: int, absolute: bool, name: str) -> float:
    """A time since 1970 (`absolute`), or a time from now, on the kernel's clock."""
    if abs(milliseconds) > LATEST:
        raise Refused(f"ERR invalid expire time in '{name}' command")
    since = time.time() if absolute else 0.0
    return client.store.clock() + milliseconds / 1000 - since


def deadline_of(client: Client, given: dict[str, Any], name: str) -> float | None:
    """When a key ends that a command gives a time by one of the options `LASTING`."""
    option = one_of(given, *LASTING)
    if option is None:
        return None
    milliseconds = number(given[option]) * (1 if option.startswith("P") else 1000)
    if milliseconds <= 0:
        raise Refused(f"ERR invalid expire time in '{name}' command")
    return on_the_clock(client, milliseconds, option.endswith("AT"), name)


@command()
def ttl(client: Client, key: bytes) -> bytes:
    """TTL key"""
    return integer(in_seconds(milliseconds_left(client, key)))


@command()
def pttl(client: Client, key: bytes) -> bytes:
    """PTTL key"""
    return integer(milliseconds_left(client, key))


@command()
def expiretime(client: Client, key: bytes) -> bytes:
    """EXPIRETIME key"""
    return integer(in_seconds(end_of(client, key)))


@command()
def pexpiretime(client: Client, key: bytes) -> bytes:
    """PEXPIRETIME key"""
    return integer(end_of(client, key))


def in_seconds(milliseconds: int) -> int:
    """The nearest number of seconds; what is negative says why there is none."""
    return (milliseconds + 500) // 1000 if milliseconds > 0 else milliseconds


def milliseconds_left(client: Client, key: bytes) -> int:
    """How long a key still lasts; -1: for ever, -2: it is not there."""
    store = client.store
    if store.find(key) is None:
        return -2
    deadline = store.deadlines.get(key)
    return -1 if deadline is None else max(0, round((deadline - store.clock()) * 1000))


def end_of(client: Client, key: bytes) -> int:
    """When a key ends, in milliseconds since 1970; -1: never, -2: it is not there."""
    store = client.store
    if store.find(key) is None:
        return -2
    deadline = store.deadlines.get(key)
    return -1 if deadline is None else round((time.time() + deadline - store.clock()) * 1000)


@command()
def persist(client: Client, key: bytes) -> bytes:
    """PERSIST key"""
    if client.store.find(key) is None or key not in client.store.deadlines:
        return integer(0)
    client.store.expire(key, None)
    return integer(1)
