"""Commands on the connection: who the client is, and how it speaks."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence

from examples.servers.cache.client import Client
from examples.servers.cache.replies import EMPTY, OK, Long, bulk, bulks, integer, simple
from examples.servers.cache.table import Refused, command, number, options, shown
from examples.servers.common import shown as address
from microthreads import now
from microthreads.errors import printable

VERSION = b"7.0.0"  # of the Redis whose words these are; clients ask for it
TOLD = 20  # clients, before others have their turn
WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."
NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
NOT_YET = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
    "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "
    "RESP protocol version at the same time"
)

# ---- beginning and ending


@command()
def auth(client: Client, first: bytes, second: bytes | None = None) -> bytes:
    """AUTH [username] password"""
    if second is None and not client.cache.password:
        raise Refused(NO_PASSWORD)
    identify(client, *((b"default", first) if second is None else (first, second)))
    return OK


def identify(client: Client, user: bytes, password: bytes) -> None:
    """Take a password, or refuse it; how long that takes tells nothing about the right one."""
    right = hmac.compare_digest(password, client.cache.password)
    if user != b"default" or (client.cache.password and not right):
        raise Refused(WRONG_PASSWORD)
    client.welcome()


@command()
def hello(client: Client, version: bytes | None = None, *words: bytes) -> bytes:
    """HELLO [2 | 3 [AUTH username password] [SETNAME name]]"""
    wanted = client.form.version
    if version is not None:
        wanted = number(version, "ERR Protocol version is not an integer or out of range")
    if wanted not in (2, 3):
        raise Refused("NOPROTO unsupported protocol version")
    given = options(words, AUTH=2, SETNAME=1)
    if "AUTH" in given:
        identify(client, *given["AUTH"])
    if client.stranger:
        raise Refused(NOT_YET)
    if "SETNAME" in given:
        set_name(client, given["SETNAME"])
    client.speak(wanted)
    facts = [b"server", b"redis", b"version", VERSION, b"proto"]
    more = [b"mode", b"standalone", b"role", b"master", b"modules"]
    words_and_numbers = [*map(bulk, facts), integer(wanted), bulk(b"id"), integer(client.number)]
    return b"".join([client.form.head_of_pairs(7), *words_and_numbers, *map(bulk, more), EMPTY])


@command()
def quit_(client: Client, *words: bytes) -> bytes:
    """QUIT"""
    client.leaving = True
    return OK


@command()
def reset(client: Client) -> bytes:
    """RESET"""
    client.reset()
    return simple("RESET")


@command()
def select(client: Client, index: bytes) -> bytes:
    """SELECT index"""
    if number(index) != 0:
        raise Refused("ERR DB index is out of range")
    return OK


@command()
def ping(client: Client, text: bytes | None = None) -> bytes:
    """PING [message]"""
    if client.topics and client.form.version == 2:
        return bulks([b"pong", text or b""])
    return simple("PONG") if text is None else bulk(text)


@command()
def echo(client: Client, text: bytes) -> bytes:
    """ECHO message"""
    return bulk(text)


# ---- who is there


@command()
def client_(client: Client, what: bytes, *words: bytes) -> bytes | Long:
    """CLIENT ID | GETNAME | SETNAME name | SETINFO name value | LIST | INFO"""
    asked = (what.upper(), len(words))
    if asked == (b"SETNAME", 1):
        return set_name(client, words[0])
    if asked == (b"SETINFO", 2):
        return OK
    if asked == (b"GETNAME", 0):
        return client.form.bulk(client.name or None)
    if asked == (b"ID", 0):
        return integer(client.number)
    if asked == (b"LIST", 0):
        there = list(client.cache.clients.values())
        return Long(lines_about(client, there), 64 * len(there))
    if asked == (b"INFO", 0):
        return client.form.text(line_about(client))
    raise unknown_part("CLIENT", what)


def set_name(client: Client, name: bytes) -> bytes:
    """Give a client a name; the reply."""
    if any(not 33 <= byte <= 126 for byte in name):
        raise Refused("ERR Client names cannot contain spaces, newlines or special characters.")
    client.name = name
    return OK


def lines_about(client: Client, clients: Sequence[Client]) -> Iterator[bytes]:
    """The list of clients, which takes its time."""
    lines = []
    for each in clients:
        lines.append(line_about(each))
        if len(lines) % TOLD == 0:
            yield b""
    yield client.form.text(b"".join(lines))


def line_about(client: Client) -> bytes:
    """A client's line in the list of clients."""
    patterns = sum(topic.pattern for topic in client.topics)
    facts = f"addr={printable(address(client.peer))} age={now() - client.since:.0f} db=0"
    facts += f" sub={len(client.topics) - patterns} psub={patterns}"
    facts += f" multi={-1 if client.transaction is None else len(client.transaction.commands)}"
    line = f"id={client.number} {facts} cmd={client.last or 'NULL'} name="
    return line.encode() + client.name + b"\n"


def unknown_part(name: str, part: bytes) -> Refused:
    """The error for a subcommand that there is not."""
    return Refused(f"ERR unknown subcommand '{shown(part)}'. Try {name} HELP.")
