"""The table of a cache's commands, how one is performed, and how arguments are read.

A command is a function: it gets the client, then its arguments, as bytes, and returns the
reply, as bytes. Its name and how many arguments it takes are read off the function:

    @command()
    def strlen(client: Client, key: bytes) -> bytes: ...

What a client did wrong is raised as `Refused`. A command that has to wait cannot do so
itself, since it is a function; it returns `Blocked`, which says what for.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from examples.servers.cache.resp import error
from examples.servers.cache.store import WrongTypeError

if TYPE_CHECKING:
    from examples.servers.cache.client import Client

MOST = 2**63 - 1  # of a number
DECIMAL = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
SYNTAX = "ERR syntax error"
NOT_A_NUMBER = "ERR value is not an integer or out of range"
WRONG_TYPE = error("WRONGTYPE Operation against a key holding the wrong kind of value")
FULL = error("OOM command not allowed when used memory > 'maxmemory'.")
ONLY = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"


class Refused(Exception):  # noqa: N818  (no failure of ours)
    """What the client asks for cannot be done; the text is Redis's own."""


class Blocked(NamedTuple):
    """The client waits for an item.

    Attributes:
        keys: Of the lists that it may come from.
        left: Which end it is taken off.
        seconds: How long to wait; 0: as long as it takes.
    """

    keys: list[bytes]
    left: bool
    seconds: float


Reply: TypeAlias = bytes | Blocked


class Command(NamedTuple):
    """A row of the table.

    Attributes:
        function: What performs it.
        least, most: How many words it may have, its name among them.
        grows: Whether it is refused when memory is full.
        anywhere: Whether clients may give it that have subscribed to something.
    """

    function: Callable[..., Reply]
    least: int
    most: float
    grows: bool
    anywhere: bool


COMMANDS: dict[bytes, Command] = {}
Function = TypeVar("Function", bound=Callable[..., Reply])


def command(*, grows: bool = False, anywhere: bool = False) -> Callable[[Function], Function]:
    """Put a function into the table, by its name (without a "_" at its end)."""

    def put(function: Function) -> Function:
        kinds = inspect.signature(function).parameters.values()
        least = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in kinds)
        endless = any(p.kind is p.VAR_POSITIONAL for p in kinds)
        row = Command(function, least, float("inf") if endless else len(kinds), grows, anywhere)
        name = function.__name__.rstrip("_").encode()
        COMMANDS[name] = COMMANDS[name.upper()] = row  # other spellings are looked up twice
        return function

    return put


def perform(client: Client, words: list[bytes]) -> Reply:
    """Perform a command; its reply, which may be an error."""
    row = COMMANDS.get(words[0]) or COMMANDS.get(words[0].upper())
    if row is None:
        return unknown(words)
    function, least, most, grows, anywhere = row
    if not least <= len(words) <= most:
        return error(wrong_count(words[0]))
    if client.topics and not anywhere:
        return error(f"ERR Can't execute '{shown(words[0]).lower()}': {ONLY}")
    if grows and client.store.used >= client.cache.max_memory:
        return FULL
    try:
        return function(client, *words[1:])
    except Refused as refused:
        return error(str(refused))
    except WrongTypeError:
        return WRONG_TYPE


def unknown(words: list[bytes]) -> bytes:
    """The reply to what is no command."""
    beginning = "".join(f"'{shown(word)}' " for word in words[1:20])[:128]
    return error(f"ERR unknown command '{shown(words[0])}', with args beginning with: {beginning}")


def wrong_count(name: bytes) -> str:
    """What is said of a command with too few words, or too many."""
    return f"ERR wrong number of arguments for '{shown(name).lower()}' command"


def shown(word: bytes) -> str:
    """A word as a message has it: as it is, but not all of it."""
    return word[:128].decode("utf-8", "surrogateescape")


# ---- arguments


def number(word: bytes, problem: str = NOT_A_NUMBER) -> int:
    """A word as a number of 64 bits, written in the one way there is."""
    try:
        value = int(word)
    except ValueError:
        raise Refused(problem) from None
    if b"%d" % value != word or not -MOST - 1 <= value <= MOST:
        raise Refused(problem)
    return value


def seconds(word: bytes) -> float:
    """A word as the number of seconds to wait."""
    value = float(word) if DECIMAL.fullmatch(word) else float("nan")
    if not abs(value) < 1e9:
        raise Refused("ERR timeout is not a float or out of range")
    if value < 0:
        raise Refused("ERR timeout is negative")
    return value


def pairs(words: tuple[bytes, ...], name: bytes) -> dict[bytes, bytes]:
    """Words that come two by two."""
    if not words or len(words) % 2:
        raise Refused(wrong_count(name))
    return dict(zip(words[::2], words[1::2], strict=True))


def options(words: tuple[bytes, ...], **shapes: int) -> dict[str, Any]:
    """The options at the end of a command, each given once at most.

    Args:
        words: What was given.
        **shapes: The options, each with how many words follow it: 0 or 1.

    Returns:
        Those that were given, each with the word that followed it, or True.
    """
    found: dict[str, Any] = {}
    here = iter(words)
    for word in here:
        name = shown(word).upper()
        if name not in shapes or name in found:
            raise Refused(SYNTAX)
        found[name] = next(here, None) if shapes[name] else True
        if found[name] is None:
            raise Refused(SYNTAX)
    return found
