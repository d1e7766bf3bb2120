"""The commands, by what they are on. Who imports this has them in the table."""

from examples.servers.cache.commands import (
    connection,
    expiry,
    hashes,
    keys,
    lists,
    messages,
    server,
    sets,
    strings,
    transactions,
)

__all__ = [
    "connection",
    "expiry",
    "hashes",
    "keys",
    "lists",
    "messages",
    "server",
    "sets",
    "strings",
    "transactions",
]
