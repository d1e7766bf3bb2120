"""Seats: no client takes all the connections that a server can have.

    seats = Seats(100)
    with seats.taken(stream) as seated:
        if seated:
            ...                             else it has 100 already

A client is what its address tells. Those of Unix sockets have none, and are not counted.
"""

from __future__ import annotations

import contextlib
import ipaddress
import resource
from collections import Counter
from collections.abc import Iterator

from examples.servers.places import address_of
from microthreads import Stream


class Seats:
    """How many connections each client has: a client is an address, or an IPv6 network.

    Args:
        most: How many it may have, in this process.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def taken(self, client: Stream) -> Iterator[bool]:
        """Count one more in this block; whether there was room for it."""
        whose = owner_of(client)
        if whose and self._taken[whose] >= self._most:
            yield False
            return
        self._taken[whose] += 1
        try:
            yield True
        finally:
            self._taken[whose] -= 1
            if not self._taken[whose]:
                del self._taken[whose]


def owner_of(client: Stream) -> str:
    """Whose connection it is; "" if it cannot be told: on Unix sockets, or of who is gone."""
    try:
        address = address_of(client.peername[0])
    except (OSError, IndexError):
        return ""
    if isinstance(address, ipaddress.IPv6Address):  # who has one of a /64 has all of them
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


def fair_share() -> int:
    """A quarter of the connections that there can be; each takes two descriptors."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (descriptors if descriptors > 0 else 1 << 20) // 8)
