"""Commands on transactions."""

from __future__ import annotations

from examples.servers.cache.client import Client
from examples.servers.cache.replies import OK, Long, error
from examples.servers.cache.table import Blocked, Command, Refused, command, done
from examples.servers.cache.transactions import Transaction, Watch, in_one

WATCHED = 10_000  # keys
TOO_LARGE = "ERR the reply to the transaction would be too large"


@command()
def multi(client: Client) -> bytes:
    """MULTI"""
    if client.transaction is not None:
        raise Refused("ERR MULTI calls can not be nested")
    client.transaction = Transaction()
    return OK


@command()
def exec_(client: Client) -> bytes | Long:
    """EXEC"""
    kept, client.transaction = client.transaction, None
    if kept is None:
        raise Refused("ERR EXEC without MULTI")
    spoiled = client.watch is not None and client.watch.spoiled
    client.unwatch()
    if kept.failed:
        raise Refused("EXECABORT Transaction discarded because of previous errors.")
    if spoiled:
        return client.form.nil_list
    client.cache.performed += len(kept.commands)
    return in_one(all_done(client, kept.commands))


def all_done(client: Client, commands: list[tuple[Command, list[bytes]]]) -> list[bytes | Long]:
    """Perform them all; their replies, which have a limit: few bytes can ask for many."""
    replies, room = [], 2 * client.cache.max_value
    client.turns.count(len(commands))
    for row, words in commands:
        reply = done(client, row, words)
        if isinstance(reply, Blocked):
            reply = client.form.nil_list  # nothing waits within a transaction
        size = reply.size if isinstance(reply, Long) else len(reply)
        if size > room:
            reply, size = error(TOO_LARGE), 0
        room -= size
        replies.append(reply)
    return replies


@command()
def discard(client: Client) -> bytes:
    """DISCARD"""
    if client.transaction is None:
        raise Refused("ERR DISCARD without MULTI")
    client.transaction = None
    client.unwatch()
    return OK


@command(grows=True)
def watch(client: Client, key: bytes, *keys: bytes) -> bytes:
    """WATCH key [key ...]"""
    if client.transaction is not None:
        raise Refused("ERR WATCH inside MULTI is not allowed")
    if client.watch is None:
        client.watch = Watch(client.store)
    if len(client.watch) + len(keys) >= WATCHED:
        raise Refused(f"ERR a client watches {WATCHED} keys at most")
    client.watch.add((key, *keys))
    return OK


@command()
def unwatch(client: Client) -> bytes:
    """UNWATCH"""
    client.unwatch()
    return OK
