"""The table of a cache's commands, how one is performed, and how arguments are read.

A command is a function: it gets the client, then its arguments, as bytes, and returns the
reply. Its name and how many arguments it takes are read off the function:

    @command()
    def strlen(client: Client, key: bytes) -> bytes: ...

What a client did wrong is raised as `Refused`. A command that has to wait cannot do so
itself, since it is a function; it returns `Blocked`, which says what for. One whose reply
takes long returns it as `Long` (see replies.py). One that takes more than a few
microseconds says so by `client.turns.count`.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from examples.servers.cache.globs import LONGEST, PatternTooLongError
from examples.servers.cache.replies import Long, error, simple
from examples.servers.cache.store import LONGEST as LONGEST_KEY
from examples.servers.cache.store import KeyTooLongError, WrongTypeError

if TYPE_CHECKING:
    from examples.servers.cache.client import Client

MOST = 2**63 - 1  # of a number
DECIMAL = re.compile(rb"[-+]?(\d{1,400}\.?\d{0,400}|\.\d{1,400})([eE][-+]?\d{1,4})?")
SYNTAX = "ERR syntax error"
NOT_A_NUMBER = "ERR value is not an integer or out of range"
FULL = "OOM command not allowed when used memory > 'maxmemory'."
ONLY = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"

# What a client may ask for in the states in which it may not ask for everything.
TO_STRANGERS = frozenset(["auth", "hello", "quit", "reset"])
ABOUT_TOPICS = frozenset(["subscribe", "psubscribe", "unsubscribe", "punsubscribe"])
TO_SUBSCRIBERS = ABOUT_TOPICS | {"ping", "quit", "reset"}
NOT_QUEUED = frozenset(["multi", "exec", "discard", "watch", "quit", "reset"])
# What a web page can have a browser send begins like this.
OF_HTTP = frozenset([b"POST", b"HOST:"])


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


Reply: TypeAlias = bytes | Long | Blocked


class Command(NamedTuple):
    """A row of the table.

    Attributes:
        name: In small letters.
        function: What performs it.
        least, most: How many words it may have, its name among them.
        grows: Whether it is refused when memory is full.
    """

    name: str
    function: Callable[..., Reply]
    least: int
    most: float
    grows: bool


COMMANDS: dict[bytes, Command] = {}
Function = TypeVar("Function", bound=Callable[..., Reply])


def command(*, grows: bool = False) -> Callable[[Function], Function]:
    """Put a function into the table, by its name (without a "_" at its end)."""

    def put(function: Function) -> Function:
        kinds = inspect.signature(function).parameters.values()
        least = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in kinds)
        endless = any(p.kind is p.VAR_POSITIONAL for p in kinds)
        name = function.__name__.rstrip("_")
        row = Command(name, function, least, float("inf") if endless else len(kinds), grows)
        COMMANDS[name.encode()] = COMMANDS[name.upper().encode()] = row  # others: looked up twice
        return function

    return put


def perform(client: Client, words: list[bytes]) -> Reply:
    """Perform a command, or keep it for EXEC; the reply, which may be an error."""
    row = COMMANDS.get(words[0]) or COMMANDS.get(words[0].upper())
    if row is None:
        return unknown(client, words)
    client.last = row.name
    if not row.least <= len(words) <= row.most:
        return refused(client, wrong_count(row.name))
    if client.stranger and row.name not in TO_STRANGERS:
        return refused(client, "NOAUTH Authentication required.")
    if row.grows and client.store.used + client.cache.held >= client.cache.max_memory:
        return refused(client, FULL)
    if client.topics and client.form.version == 2 and row.name not in TO_SUBSCRIBERS:
        return refused(client, f"ERR Can't execute '{row.name}': {ONLY}")
    if client.transaction is not None and row.name not in NOT_QUEUED:
        return queued(client, row, words)
    return done(client, row, words)


def done(client: Client, row: Command, words: list[bytes]) -> Reply:
    """Perform a command that may be performed now."""
    try:
        return row.function(client, *words[1:])
    except Refused as problem:
        return error(str(problem))
    except WrongTypeError:
        return error("WRONGTYPE Operation against a key holding the wrong kind of value")
    except KeyTooLongError:
        return error(f"ERR a key has {LONGEST_KEY} bytes at most")
    except PatternTooLongError:
        return error(f"ERR a pattern has {LONGEST} bytes at most")


def queued(client: Client, row: Command, words: list[bytes]) -> bytes:
    """Keep a command until EXEC."""
    if row.name in ABOUT_TOPICS:  # their replies come by themselves, and not in those of EXEC
        return refused(client, "ERR Command not allowed inside a transaction")
    assert client.transaction is not None
    if not client.transaction.add(row, words):
        return refused(client, "ERR too many commands in a transaction")
    return simple("QUEUED")


def refused(client: Client, problem: str) -> bytes:
    """The reply to a command that cannot even be kept for EXEC, which spoils that."""
    if client.transaction is not None:
        client.transaction.fail()
    return error(problem)


def unknown(client: Client, words: list[bytes]) -> bytes:
    """The reply to what is no command. A web page gets none: its next line may be one."""
    client.last = ""
    if words[0].upper() in OF_HTTP:
        client.leave_for("it speaks HTTP: a web page may be trying to command this cache")
        return b""
    beginning = "".join(f"'{shown(word)}' " for word in words[1:20])[:128]
    told = f"ERR unknown command '{shown(words[0])}', with args beginning with: {beginning}"
    return refused(client, told)


def wrong_count(name: str) -> str:
    """What is said of a command with too few words, or too many."""
    return f"ERR wrong number of arguments for '{name}' command"


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


def decimal(word: bytes, problem: str) -> Decimal:
    """A word as a number with a fraction, not larger than a `float` can be."""
    if not DECIMAL.fullmatch(word) or math.isinf(float(word)):
        raise Refused(problem)
    return Decimal(word.decode())


def pairs(words: tuple[bytes, ...], name: str) -> dict[bytes, bytes]:
    """Words that come two by two."""
    if len(words) % 2:
        raise Refused(wrong_count(name))
    return dict(zip(words[::2], words[1::2], strict=True))


def options(words: tuple[bytes, ...], **shapes: int) -> dict[str, Any]:
    """The options at the end of a command, each given once at most.

    Args:
        words: What was given.
        **shapes: The options, each with how many words follow it.

    Returns:
        Those that were given, each with the word that followed it, a list of several
        words, or True for none.
    """
    found: dict[str, Any] = {}
    here = 0
    while here < len(words):
        name = shown(words[here]).upper()
        count = shapes.get(name, -1)
        following = list(words[here + 1 : here + 1 + count])
        if count < 0 or name in found or len(following) < count:
            raise Refused(SYNTAX)
        found[name] = following if count > 1 else following[0] if count else True
        here += 1 + count
    return found


def one_of(given: dict[str, Any], *names: str) -> str | None:
    """Which of these options was given; it is an error if several were."""
    there = [name for name in names if name in given]
    if len(there) > 1:
        raise Refused(SYNTAX)
    return there[0] if there else None
