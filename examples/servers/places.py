"""Places in the network: one way to write each, and rules for which of them may be reached.

An address has many spellings: `127.1`, `0x7f000001`, `::ffff:127.0.0.1` and `127.0.0.1` are
one place, and so are `Example.ORG.` and `example.org`. So nothing is compared as it comes,
but in the form of `canonical`.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import socket
from fnmatch import fnmatchcase
from typing import NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_of(host: str) -> Address | None:
    """The address that `host` is in any of its spellings; None if it is a name.

    What counts as an address is what the resolver takes for one. Nothing is looked up.
    """
    if host in ("", "*"):  # for which resolvers take the address of this machine
        return None
    try:
        found = socket.getaddrinfo(host.removesuffix("."), 0, flags=socket.AI_NUMERICHOST)
        text, _, *more = found[0][4]
        scope = f"%{more[1]}" if more and more[1] else ""
        address = ipaddress.ip_address(f"{text}{scope}")
    except (OSError, ValueError):  # ValueError: it can be no name, either
        return None
    return getattr(address, "ipv4_mapped", None) or address


def canonical(host: str) -> str:
    """`host` in the form in which hosts are compared: an address, or a name in lower case."""
    return str(address_of(host) or host.lower().removesuffix("."))


def can_be_name(host: str) -> bool:
    """Whether `host` can be a name: no part of it is empty, or longer than 63 letters."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return bool(host)


def is_own(address: str) -> bool:
    """Whether this is an address of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))  # the system refuses to bind to the addresses of others
        return True
    return False


class Rule(NamedTuple):
    """Some hosts, and one port of them or all.

    Attributes:
        hosts: A pattern with * and ?, or the addresses of a network.
        port: None: any.
    """

    hosts: str | Network
    port: int | None

    def fits(self, host: str, port: int) -> bool:
        """Whether it is about this place."""
        if self.port not in (None, port):
            return False
        if isinstance(self.hosts, str):
            return fnmatchcase(canonical(host), self.hosts)
        address = address_of(host)
        return address is not None and address in self.hosts


def rule(text: str) -> Rule:
    """`text` as HOST[:PORT], for argparse; an IPv6 address before a port stands in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text, "*"
    if port != "*" and not (port.isdecimal() and 0 < int(port) < 65536):
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, or *: {text!r}")
    hosts = hosts_of(host.removeprefix("[").removesuffix("]"))
    return Rule(hosts, None if port == "*" else int(port))


def hosts_of(host: str) -> str | Network:
    """The hosts of a rule: a network, an address (a network of one), or a pattern."""
    address = address_of(host)
    try:
        if address is not None:
            return ipaddress.ip_network(str(address).partition("%")[0])
        if "/" in host:
            return ipaddress.ip_network(host, strict=False)
        name = host.lower().encode("idna").decode().removesuffix(".")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{host!r} is no host and no network: {error}") from None
    if not name:
        raise argparse.ArgumentTypeError("HOST[:PORT] is needed; * is any host")
    return name.replace("[", "[[]")  # only * and ? mean something else in a pattern
