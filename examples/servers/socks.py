"""A SOCKS5 proxy: clients say where they want to be connected to (RFC 1928, RFC 1929).

A conversation before the bytes flow, each step a few bytes long:

    client                                  here
    which ways to log in it has             the way that is taken, or "none"
    (name and password)                     right or wrong
    CONNECT to an address or a name         a reply code, and the address connected from

`greeted`, `logged_in` and `asked` read these three, and pipes.py does the rest. What
cannot be done ends with `Refused`, which carries the reply code.

Try: `curl --socks5-hostname 127.0.0.1:1080 http://example.org/`; start it with
`--user ada:secret`, then with `--allow '*.example.org:80'`, and read what curl says.
"""

from __future__ import annotations

import argparse
import errno
import hmac
import ipaddress
import logging
import re
import socket
import sys
from collections.abc import Sequence
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, not by -m: the checkout is two folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.servers.common import make_parser, positive, run_server, seconds, serving, shown
from examples.servers.pipes import Pipes, add_options, connected, peer, reporting
from examples.servers.places import Rule, address_of, can_be_name, is_own, rule
from examples.servers.seats import Seats, fair_share
from microthreads import Stream, timeout

EXAMPLES = """examples:
  python3 -m examples.servers.socks
  python3 -m examples.servers.socks --user ada:secret --verbose
  python3 -m examples.servers.socks --allow '*.example.org:443' --allow 127.0.0.1
  python3 -m examples.servers.socks --deny 127.0.0.0/8 --deny ::1 --deny 10.0.0.0/8

Then, in another terminal:
  curl --socks5 127.0.0.1:1080 http://example.org/             (curl looks the name up)
  curl --socks5-hostname 127.0.0.1:1080 http://example.org/    (the proxy does)
  curl --socks5 127.0.0.1:1080 --proxy-user ada:secret http://example.org/
"""

logger = logging.getLogger("socks")

VERSION = 5
CONNECT = 1
NO_LOGIN, PASSWORD, NO_WAY = 0, 2, 255
IPV4, NAME, IPV6 = 1, 3, 4  # the kinds of addresses
NAME_OR_ADDRESS = re.compile(r"[\w.:%-]+", re.ASCII)


class Reply(IntEnum):
    """How a request went."""

    DONE = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TOO_LATE = 6
    NO_SUCH_COMMAND = 7
    NO_SUCH_ADDRESS = 8


REPLIES = {
    errno.EACCES: Reply.NOT_ALLOWED,
    errno.EPERM: Reply.NOT_ALLOWED,
    errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE,
    errno.ECONNREFUSED: Reply.REFUSED,
}


class Refused(Exception):  # noqa: N818  (as the protocol has it)
    """What the client wants cannot be done.

    Args:
        why: For the log.
        answer: What the client is sent before it is disconnected.
    """

    def __init__(self, why: str, answer: bytes = b"") -> None:
        super().__init__(why)
        self.answer = answer


def refused(reply: Reply, why: str) -> Refused:
    """That a request is refused, with a reply code."""
    return Refused(why, reply_of(reply))


def reply_of(reply: Reply, address: Any = ("0.0.0.0", 0)) -> bytes:
    """A reply, as it is sent; the address is where the connection was made from."""
    host = ipaddress.ip_address(address[0].partition("%")[0])
    kind = IPV4 if host.version == 4 else IPV6
    port: bytes = address[1].to_bytes(2, "big")
    return bytes((VERSION, reply, 0, kind)) + host.packed + port


class Socks:
    """What all clients have in common: the options, and the pipes."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.pipes = Pipes(args.idle)
        self._user: bytes | None = args.user
        self._allowed: list[Rule] = args.allow or [rule("*")]
        self._denied: list[Rule] = args.deny or []
        self._seats = Seats(args.per_client)
        self._handshake: float = args.handshake
        self._connect_timeout: float = args.connect_timeout

    async def serve(self, client: Stream) -> None:
        """Serve one client, unless it has too many connections already."""
        name = peer(client)
        with self._seats.taken(client) as seated:
            if seated:
                await self.talk(client, name)
            else:
                logger.info("%s: has too many connections", name)
                client.abort()

    async def talk(self, client: Stream, name: str) -> None:
        """Serve one client, from its first byte on."""
        try:
            with timeout(self._handshake):
                await self.greeted(client)
                host, port = await self.asked(client)
            upstream = await self.upstream_of(client, host, port)
        except Refused as error:
            logger.info("%s: %s", name, error)
            await client.write(error.answer)
        except TimeoutError:
            logger.info("%s: took more than %g s to say what it wants", name, self._handshake)
        else:
            with upstream:
                await client.write(reply_of(Reply.DONE, upstream.plain.getsockname()))
                await self.pipes.join(client, upstream, f"{name} to {shown((host, port))}")

    async def greeted(self, client: Stream) -> None:
        """Agree on how the client logs in, and have it do so."""
        version, count = await client.read_exactly(2)
        if version != VERSION:
            raise Refused(f"speaks version {version} of SOCKS, or none at all")
        wanted = NO_LOGIN if self._user is None else PASSWORD
        if wanted not in await client.read_exactly(count):
            raise Refused("has no way to log in that will do", bytes((VERSION, NO_WAY)))
        await client.write(bytes((VERSION, wanted)))
        if self._user is not None:
            await self.logged_in(client, self._user)

    async def logged_in(self, client: Stream, user: bytes) -> None:
        """Check the name and the password (RFC 1929)."""
        version, length = await client.read_exactly(2)
        if version != 1:
            raise Refused(f"logs in by version {version}", b"\1\1")
        name = await client.read_exactly(length)
        password = await client.read_exactly((await client.read_exactly(1))[0])
        # In a time that does not tell how much of it was right.
        if not hmac.compare_digest(sized(name) + sized(password), user):
            raise Refused(f"is not let in as {name!r}", b"\1\1")
        await client.write(b"\1\0")

    async def asked(self, client: Stream) -> tuple[str, int]:
        """Where the client wants to be connected to."""
        version, command, _, kind = await client.read_exactly(4)
        if version != VERSION:
            raise refused(Reply.FAILED, f"asks in version {version}")
        if kind == NAME:
            name = await client.read_exactly((await client.read_exactly(1))[0])
            host = name.decode("ascii", "backslashreplace").lower()
        elif kind in (IPV4, IPV6):
            packed = await client.read_exactly(4 if kind == IPV4 else 16)
            host = str(ipaddress.ip_address(packed))
        else:
            raise refused(Reply.NO_SUCH_ADDRESS, f"has an address of the unknown kind {kind}")
        port = int.from_bytes(await client.read_exactly(2), "big")
        if command != CONNECT:
            raise refused(Reply.NO_SUCH_COMMAND, f"has the unknown command {command}")
        self.check(host, port)
        return str(address_of(host) or host), port

    def check(self, host: str, port: int) -> None:
        """Refuse what nobody can connect to, or nobody may."""
        if not host or port == 0:
            raise refused(Reply.FAILED, f"asks for {host!r}, port {port}")
        if not NAME_OR_ADDRESS.fullmatch(host) or not can_be_name(host):
            raise refused(Reply.HOST_UNREACHABLE, f"asks for {host!r}, which is no name")
        allowed = any(each.fits(host, port) for each in self._allowed)
        if not allowed or self.is_denied(host, port):
            raise refused(Reply.NOT_ALLOWED, f"may not go to {shown((host, port))}")

    def is_denied(self, host: str, port: int) -> bool:
        """Whether nobody may go there."""
        return any(each.fits(host, port) for each in self._denied)

    async def upstream_of(self, client: Stream, host: str, port: int) -> Stream:
        """The connection that was asked for."""
        why = f"cannot be connected to {shown((host, port))}"
        check = partial(self.check_reached, client)
        try:
            return await connected(host, port, self._connect_timeout, check)
        except (TimeoutError, socket.gaierror) as error:
            raise refused(Reply.HOST_UNREACHABLE, f"{why}: {error}") from None
        except OSError as error:
            reply = REPLIES.get(error.errno or 0, Reply.FAILED)
            raise refused(reply, f"{why}: {error}") from None

    def check_reached(self, client: Stream, reached: Any) -> None:
        """Refuse the address that a name has led to, if nobody may go there, or it leads back.

        A proxy on all addresses can be reached by any of this machine's: at its own port,
        none of them is connected to.
        """
        host, port = reached[:2]
        here = client.plain.getsockname()
        if self.is_denied(host, port):
            raise refused(Reply.NOT_ALLOWED, f"may not go to {shown(reached)}")
        if isinstance(here, tuple) and here[1] == port and is_own(host):
            raise refused(Reply.NOT_ALLOWED, "asks to be connected to this proxy")


def user(text: str) -> bytes:
    """`text` as a name and a password, as they are sent; for argparse."""
    name, colon, password = text.encode().partition(b":")
    if not colon or not 1 <= len(name) <= 255 or not 1 <= len(password) <= 255:
        raise argparse.ArgumentTypeError("NAME:PASSWORD is needed, each of 1 to 255 bytes")
    return sized(name) + sized(password)


def sized(text: bytes) -> bytes:
    """Up to 255 bytes, as they are sent: with their number before them."""
    return bytes((len(text),)) + text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    about = "Connect clients to where they want, by SOCKS5."
    parser = make_parser("socks", about, EXAMPLES, port=1080, workers=True)
    add = parser.add_argument
    add("--user", type=user, metavar="NAME:PASSWORD", help="who is let in (default: everybody)")
    add_rules(parser)
    handshake = "seconds for a client to say what it wants (default: %(default)s)"
    add("--handshake", type=seconds, default=10.0, metavar="SECONDS", help=handshake)
    add_options(parser)
    args = parser.parse_args(arguments)
    server = Socks(args)
    code = run_server(
        args,
        lambda stopping: reporting(server.pipes, serving(args, server.serve, stopping=stopping)),
    )
    server.pipes.tell()
    return code


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The options that say where clients may go, and how often."""
    allow = "where clients may go, as they ask for it: a name with * and ?, an address, or a"
    deny = "where they may not, whatever it is called: looked at again once connected"
    for option, text in (
        ("--allow", f"{allow} network such as 10.0.0.0/8; repeatable (default: *)"),
        ("--deny", deny),
    ):
        parser.add_argument(option, type=rule, action="append", metavar="HOST[:PORT]", help=text)
    parser.add_argument(
        "--per-client",
        type=positive,
        default=fair_share(),
        metavar="N",
        help="connections that one address may have, in each process (default: %(default)s)",
    )


if __name__ == "__main__":
    sys.exit(main())
