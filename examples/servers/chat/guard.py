"""Which pages may speak here: those of this site, which is called by one of its own names.

A browser says which page a request comes from (Origin), and by which name it has found the
server (Host). A page of another site has another Origin than Host. But a page of evil.example
can have its name point to 127.0.0.1 by now ("DNS rebinding"); then both are evil.example. So
a Host has to be one that nobody else can have point to here: an address, localhost, or a name
that was allowed. Who comes over a network may use any name, unless some were allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from examples.servers.messages import BadRequest, Request
from examples.servers.places import Rule, address_of, canonical


class Guard:
    """Refuses what does not come from a page of this site, or from none.

    Args:
        own: The host that the server was told to listen on; it is allowed, too.
        allowed: What the server is called; empty: whatever it is called by who does not
            come from this machine.
    """

    def __init__(self, own: str, allowed: Sequence[Rule]) -> None:
        self._own = canonical(own)
        self._allowed = allowed

    def check(self, request: Request, here: Any) -> None:
        """Refuse a request of a page that may not speak here.

        Args:
            request: What is asked for.
            here: The address that the client has connected to.

        Raises:
            BadRequest: It may not.
        """
        place = request.headers.get("host", "")
        check_origin(request.headers.get("origin"), place)
        try:
            parts = urlsplit(f"//{place}")
            host, port = canonical(parts.hostname or ""), parts.port or 80
        except ValueError:
            raise BadRequest(400, "the Host is none") from None
        if place and not self._is_own(host, port, here):
            text = f"this server is not called {host!r}, unless it is started with --allow-host"
            raise BadRequest(403, text)

    def _is_own(self, host: str, port: int, here: Any) -> bool:
        if host in ("localhost", self._own) or address_of(host) is not None:
            return True
        if self._allowed:
            return any(rule.fits(host, port) for rule in self._allowed)
        return not over_loopback(here)


def over_loopback(here: Any) -> bool:
    """Whether a client has come from this machine, where its browser is."""
    address = address_of(here[0]) if isinstance(here, tuple) else None
    return address is not None and address.is_loopback


def check_origin(origin: str | None, place: str) -> None:
    """Refuse what a page of another site has sent.

    Raises:
        BadRequest: The page was not found at this place.
    """
    if origin is None:
        return
    try:
        found = urlsplit(origin).netloc
    except ValueError:
        found = ""
    if found.lower() != place.lower():
        raise BadRequest(403, "this comes from a page of another site")
