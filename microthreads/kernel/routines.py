"""Routines: what a task runs, and what can be asked of one without running it.

A routine is a generator or a coroutine object that has not been started.
Python has no public way to ask that cheaply (`gi_frame` builds a frame object
that stays with the generator, 144 bytes on CPython 3.13), so the questions are
put here, in one place, in order of cost.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from gc import get_referents
from types import CoroutineType, FrameType, GeneratorType
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from microthreads.places import is_ours

T = TypeVar("T")
Routine: TypeAlias = Generator[Any, Any, T] | Coroutine[Any, Any, T]


def is_routine(thing: Any) -> bool:
    """Whether `thing` is a generator or a coroutine object."""
    kind = type(thing)
    return (
        kind is GeneratorType or kind is CoroutineType or isinstance(thing, Generator | Coroutine)
    )


def check_routine(thing: Any, verb: str) -> None:
    """Raise a TypeError that says what to do unless `thing` is a routine."""
    if is_routine(thing):
        return
    flags = getattr(getattr(thing, "__code__", None), "co_flags", 0)
    if isinstance(thing, AsyncGenerator) or flags & ASYNC_GENERATOR:
        raise TypeError(
            f"{verb}() got {getattr(thing, '__name__', thing)}, which has a yield in an async "
            "def: that makes it an async generator, and no routine; await system calls there "
            "instead, or iterate over it in another async def"
        )
    if callable(thing):
        name = getattr(thing, "__name__", "main")
        raise TypeError(f"{verb}() got the function {name} itself: call it: {name}()")
    raise TypeError(
        f"{verb}() needs a generator or coroutine, such as main() where main has a yield "
        f"or is an async def; got {thing!r}{_hint(thing)}"
    )


def _hint(thing: Any) -> str:
    """What may be meant by something that is no routine."""
    if thing is None:
        return ": did its yields get lost? A function without one just runs"
    if isinstance(thing, list | tuple):
        return ": give what is in it one by one, as *routines"
    if hasattr(thing, "joiners"):
        return ": that runs already; yield it to wait for it"
    return ": that is a system call; yield it in a routine" if hasattr(thing, "attempt") else ""


ASYNC_GENERATOR = 0x200  # inspect.CO_ASYNC_GENERATOR
DEEPEST = 100_000  # of routines that delegate; an object of the program's may say so for ever
FINISHED = 3  # how much a finished generator refers to: its code and its two names


def is_fresh(routine: Any) -> bool:
    """Whether `routine` surely can be started; if not, ask `used_up`.

    One that can start refers to its function as well, a finished one does not.
    """
    return (
        type(routine) is GeneratorType
        and not routine.gi_suspended
        and len(get_referents(routine)) > FINISHED
    )


def used_up(routine: Any) -> str | None:
    """Why `routine` cannot be started any more, or None if it can."""
    if not isinstance(routine, GeneratorType | CoroutineType):
        return None  # another class's own: it knows
    if _ask(routine, "suspended"):
        return "has already been started"
    if _ask(routine, "running"):
        return "is running"
    return "has already finished" if _ask(routine, "frame") is None else None


def name_of(routine: Any) -> str:
    """What a task that runs `routine` is called, unless it is told."""
    return getattr(routine, "__name__", None) or type(routine).__name__


def is_suspended(routine: Any) -> bool | None:
    """True: it waits at a yield; False: it has not begun; None: it runs, or has ended.

    None as well for other classes' routines, which cannot be relied on to tell.
    """
    if not isinstance(routine, GeneratorType | CoroutineType):
        return None
    if _ask(routine, "suspended"):
        return True
    begun = _ask(routine, "running") or _ask(routine, "frame") is None
    return None if begun else False


def check_identity(routine: Any, verb: str) -> None:
    """Refuse a routine that is not known by its identity: the kernel keeps them in a dict."""
    kind: Any = type(routine)
    if kind.__hash__ is not object.__hash__ or kind.__eq__ is not object.__eq__:
        raise TypeError(
            f"cannot {verb} a {kind.__name__}: its class defines __eq__ or __hash__, and the "
            "kernel tells routines apart by identity; have a routine `yield from` it"
        )


given: WeakKeyDictionary[Any, tuple[Any, ...]] = WeakKeyDictionary()


def starting(routine: T, routines: tuple[Any, ...]) -> T:
    """`routine`, which is going to start `routines`: if it never begins, they are closed, too."""
    given[routine] = routines
    return routine


def given_to(routine: Any) -> tuple[Any, ...]:
    """The routines that `routine` would have started."""
    return given.pop(routine, ())


def _ask(routine: Any, what: str) -> Any:
    """An attribute that generators, coroutines and async generators prefix each their way."""
    for prefix in ("gi_", "cr_", "ag_"):
        try:
            answer = getattr(routine, prefix + what, None)
        except Exception:  # a class of the program's own
            return None
        if answer is not None:
            return answer
    return None


def frames_of(routine: Any) -> Iterator[FrameType]:
    """The frames of `routine` and of those it delegates to, outermost first."""
    for _ in range(DEEPEST):
        if type(frame := _ask(routine, "frame")) is FrameType:
            yield frame
        if (routine := _delegate_of(routine)) is None:
            return


def awaits(routine: Any) -> bool:
    """Whether a suspended `routine` waits inside the `__await__` of a call or task of ours.

    That raises by itself a failure that it is sent.
    """
    for _ in range(DEEPEST):
        if (inner := _delegate_of(routine)) is None:
            break
        routine = inner
    code = getattr(routine, "gi_code", None)
    return code is not None and code.co_name == "__await__" and is_ours(code)


def _delegate_of(routine: Any) -> Any:
    """What `routine` waits for by `yield from` or `await`, or None."""
    if type(routine).__name__ in WRAPPERS:  # these do not tell what they wrap
        return next((each for each in get_referents(routine) if _ask(each, "code")), None)
    return getattr(routine, "gi_yieldfrom", None) or _ask(routine, "await")


# What stands between an `await` and the coroutine or async generator that it runs.
WRAPPERS = frozenset(
    {"anext_awaitable", "async_generator_asend", "async_generator_athrow", "coroutine_wrapper"}
)
