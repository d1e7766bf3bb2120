"""What is said: events to members, requests of members, all as JSON.

To a member go events:

    welcome   {name, room, born, names, count}      you are in; what was said before follows
    said      {id, name, text, at}            at: seconds since 1970
    joined    {name, at}   left {name, why, at}
    members   {names, count}                  who is there, all at once
    typing    {name}
    notice    {text}                          to you alone
    ended     {code, text}                    you are out, or were never let in

A member asks for

    join      {name, room, key}               key: a secret, to come back under the same name
    say       {text}       typing {}          leave {}

Over a WebSocket each is a text message; web.py says how they go when polling. A refusal's
code is the WebSocket's close code: 4000 and the HTTP status that says the same.

An event is encoded once, however many members it goes to: that is a `Parcel`.
"""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any, NamedTuple

from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from examples.servers.chat.deflate import Deflate

MOST_NAME = 24  # characters
MOST_ROOM = 32
MOST_KEY = 64
MOST_TEXT = 1000
MOST_BYTES = 16384  # of a request; escaped, a text of 1000 characters may have 12,000

# What a server sends is the same for all clients.
PLAIN = Connection(ConnectionType.SERVER)
DEFLATING = Connection(ConnectionType.SERVER, [Deflate(MOST_BYTES)])


class Code(IntEnum):
    """Why a conversation ends; below 4000 the codes are those of RFC 6455."""

    LEFT = 1000
    STOPPING = 1001
    NOT_TEXT = 1003
    TOO_BIG = 1009
    BAD = 4400
    SILENT = 4408
    TAKEN = 4409
    REPLACED = 4410
    SLOW = 4429
    FULL = 4503

    @property
    def status(self) -> int:
        """The HTTP status that says the same."""
        return self - 4000 if self > 4000 else 503


class Refused(Exception):  # noqa: N818  (it is the server's answer, not its failure)
    """What a client asks for cannot be had.

    Args:
        code: Why, for programs.
        text: Why, for people.
    """

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Parcel(NamedTuple):
    """An event, encoded for each way to a member.

    Attributes:
        json: For those who poll.
        frame: For WebSockets.
        deflated: For WebSockets that agreed on compression.
    """

    json: bytes
    frame: bytes
    deflated: bytes


def packed(kind: str, **fields: Any) -> Parcel:
    """An event as a parcel."""
    text = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    event = TextMessage(data=text)
    return Parcel(text.encode(), bytes(PLAIN.send(event)), bytes(DEFLATING.send(event)))


def request_of(text: str | bytes) -> dict[str, str]:
    """What a client asks for: its "type", and whatever else is text.

    Raises:
        Refused: It is no JSON object with a type.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(Code.BAD, "this is not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise Refused(Code.BAD, 'this is no object with a "type"')
    return {name: value for name, value in found.items() if isinstance(value, str)}


def label(what: str, text: str, most: int) -> str:
    """A name, of a member or a room, without blanks around it.

    Raises:
        Refused: It is empty, too long, or cannot be seen.
    """
    text = text.strip()
    if not 0 < len(text) <= most:
        raise Refused(Code.BAD, f"a {what} has 1 to {most} characters")
    if not text.isprintable():
        raise Refused(Code.BAD, f"a {what} has only characters that can be seen")
    return text


def message(text: str) -> str:
    """The text of a message, without blanks around it.

    Raises:
        Refused: It is empty, too long, or not Unicode.
    """
    text = text.strip()
    if not 0 < len(text) <= MOST_TEXT:
        raise Refused(Code.BAD, f"a message has 1 to {MOST_TEXT} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(Code.BAD, "a message has only Unicode characters") from None
    return text
