"""Spelling: routines of ours that `yield`, `yield from` and `await` all take.

A generator cannot be awaited, and a coroutine cannot be delegated to by `yield from`
in a plain generator. What `types.coroutine` makes of a generator can be both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import wraps
from types import coroutine
from typing import Any, ParamSpec, TypeVar, cast

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")


class AwaitableGenerator(Generator[Any, Any, T_co], Awaitable[T_co]):
    """What type checkers see of a routine that can be spelled in any way."""


watched: Callable[..., Any] | None = None
"""What makes the spellings in debug mode: see observe/forgotten.py."""


def any_spelling(
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, AwaitableGenerator[T]]:
    """Let what an `async def` returns be used by `yield`, `yield from` and `await` alike."""
    if watched is not None:
        return cast("Callable[P, AwaitableGenerator[T]]", watched(function))

    @coroutine
    @wraps(function)
    def spelled(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, T]:
        result: T = yield from function(*args, **kwargs)
        return result

    return cast("Callable[P, AwaitableGenerator[T]]", spelled)


def awaitable_too(
    function: Callable[P, Generator[Any, Any, T]],
) -> Callable[P, AwaitableGenerator[T]]:
    """Let what a generator function returns be awaited as well.

    It is `types.coroutine`, of which type checkers believe that the result is only awaited.
    """
    return cast("Callable[P, AwaitableGenerator[T]]", coroutine(function))
