"""Hints: what to do about an error whose message does not say it.

Python itself refuses many mistakes before this package sees them, and cannot know what was
meant. So an error that ends a task, or that `microthreads run` shows, is looked at once: if a
rule here knows it, the hint is added to it as a note.

A rule says what happened in this package's words, and what to write instead. It stays silent
rather than guess. Imported only when there is such an error. DOC: design/hints

    PATTERNS         by the kind of error and its text
    absent           an attribute that an object of ours lacks
    undefined        a name that the program has not imported
    wrong_arguments  a call of ours that did not fit: how it is called
    of_asyncio       a call of asyncio's, whose loop does not run here
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from types import CoroutineType, FrameType, FunctionType, GeneratorType
from typing import Any

from microthreads.errors import text_of
from microthreads.kernel.routines import is_routine, name_of
from microthreads.names import IN_OTHER_WORDS, called_here
from microthreads.places import get_traceback

A_ROUTINE = (
    "if that is a routine, it has not run, and is no result yet: `yield` it in a generator, "
    "`await` it in an async def"
)
PATTERNS = (
    (
        TypeError,
        r"generator.* can't be (used in 'await' expression|awaited)",
        (
            "a plain generator cannot be awaited: make it an `async def`, or put "
            "`@types.coroutine` above it; in a generator, `yield` it"
        ),
    ),
    (
        TypeError,
        r"cannot 'yield from' a coroutine",
        "`yield` takes a coroutine as well as a generator: write `yield` for `yield from`",
    ),
    (
        TypeError,
        r"'(generator|coroutine)' object does not support the (asynchronous )?context manager",
        (
            "that is a routine, which has not run: `with (yield routine) as ...:` in a generator, "
            "`with await routine as ...:` in an async def"
        ),
    ),
    (
        TypeError,
        r"'type' object does not support the (asynchronous )?context manager",
        "that is the class itself: call it, as in `with TaskGroup() as group:`",
    ),
    (
        TypeError,
        r"bytes-like object.*'str'",
        "connections carry bytes, not text: encode it, as in `write(text.encode())`",
    ),
    (TypeError, r"'(generator|coroutine)'|type (generator|coroutine)", A_ROUTINE),
    (
        RuntimeError,
        r"(generator|coroutine) raised StopIteration",
        (
            "a `next()` in it found nothing, and its StopIteration cannot end a routine: "
            "`next(iterator, None)` returns None then"
        ),
    ),
    (
        RuntimeError,
        r"cannot reuse already awaited coroutine",
        "a routine runs once: call its function again for another",
    ),
    (
        SyntaxError,
        r"'yield' inside (list|set|dict|generator)",
        (
            "a comprehension cannot wait: write a loop, `for ...: results.append((yield ...))`, or "
            "have it all done at once by gather() or parallel_map()"
        ),
    ),
    (
        SyntaxError,
        r"outside (of an )?async",
        (
            "this function is a plain `def`: make it an `async def`; or keep it, and write `yield` "
            "for `await`"
        ),
    ),
    (SyntaxError, r"'yield from' inside async", "in an async def, write `await` for it"),
    (
        SyntaxError,
        r"'return' with value in async generator",
        "a `yield` makes an async def an async generator: `await` system calls there",
    ),
    (
        SyntaxError,
        r"'(yield|await)' outside function",
        "only a routine can wait: write it into `def main():`, and call run(main())",
    ),
    (
        ModuleNotFoundError,
        r"No module named 'examples'",
        "the examples start from the root of the repository: `python3 -m examples.NAME`",
    ),
)


def hint_for(error: BaseException) -> str | None:
    """What to do about `error`, as a sentence; None if no rule knows it."""
    text = text_of(error)
    for kind, rule in RULES:
        if issubclass(type(error), kind) and (hint := rule(error, text)):
            return hint
    for kind, pattern, hint in PATTERNS:
        if issubclass(type(error), kind) and re.search(pattern, text):
            return hint
    return None


def package() -> Any:
    """The package itself, which a module below it must not import."""
    return sys.modules["microthreads"]


def is_named_ours(thing: Any) -> bool:
    """Whether a class, a function or a module is this package's own, by the name of its module."""
    name = getattr(thing, "__module__", None) or getattr(thing, "__name__", None)
    return isinstance(name, str) and name.split(".")[0] == "microthreads"


def traceback_frames(error: BaseException) -> Iterator[FrameType]:
    """The frames of its traceback, outermost first."""
    trace = get_traceback(error)
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


# A name that is not there


def missing(name: str, frame: FrameType) -> Exception:
    """The error for a `name` that the package does not have, which `frame` asks for.

    Of an `import`, only an ImportError gets through; the text of an AttributeError is lost.
    """
    known = called_here(name, package())
    if known is None:  # Python may find one that is spelt much like it
        return AttributeError(f"module 'microthreads' has no attribute {name!r}")
    if is_importing(frame):
        return ImportError(f"cannot import name {name!r} from 'microthreads': {known}")
    text = f"module 'microthreads' has no attribute {name!r}: {known}"
    return AttributeError(text, name=name, obj=None)  # so that Python suggests nothing else


def is_importing(frame: FrameType) -> bool:
    """Whether `frame` is at a `from ... import`."""
    from opcode import opmap  # noqa: PLC0415  (it takes its time to import)

    return frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]


def absent(error: Any, text: str) -> str | None:
    """An object has no such attribute."""
    thing, name = error.obj, error.name
    if type(thing) in (GeneratorType, CoroutineType):
        made_by = name_of(thing).lstrip("_")
        return f"{made_by}() made a routine, which has not run: `yield` or `await` it first"
    kind = thing if isinstance(thing, type) else type(thing)
    if not is_named_ours(kind) or hasattr(kind, "attempt") or name is None:
        return None  # a system call says it itself
    return called_here(name, kind)


def undefined(error: Any, text: str) -> str | None:
    """A program that has imported something of ours uses a name that it has not."""
    *_, frame = traceback_frames(error)
    if error.name is None or not any(is_named_ours(each) for each in frame.f_globals.values()):
        return None
    if error.name in package().__all__:
        return f"`from microthreads import {error.name}` is missing"
    return called_here(error.name, package())


# Arguments that do not fit

WRONG = re.compile(r"([\w.]+)\(\) (takes (no|from|\d)|got (an unex|some|multiple)|missing \d)")
NAMED = re.compile(r"'(\w+)'")


def wrong_arguments(error: BaseException, text: str) -> str | None:
    """A function of ours was called in a way that does not fit."""
    match = WRONG.match(text)
    function = None if match is None else function_called(match[1], error)
    if function is None:
        return None
    name = function.__qualname__.removesuffix(".__init__")
    hint = f"it is called as {name}{signature_of(function)}"
    if name == "spawn" or name.endswith(".spawn"):
        return f"{hint}: give it a routine, as in {name}(work(1, 2)), and its options by name"
    words = NAMED.findall(text)
    for word in words:
        if word in KEYWORDS:
            return f"{hint}; {KEYWORDS[word]}"
    return hint + "".join(explained(function, word) for word in words)


KEYWORDS = {
    "timeout": IN_OTHER_WORDS["wait_for"],
    "return_exceptions": "it raises all failures as one ExceptionGroup: where each is to be a "
    "result, catch it in its routine",
}


def function_called(dotted: str, error: BaseException) -> Any:
    """The function of ours of that name, unless the program has one of its own."""
    first, *rest = dotted.split(".")
    if first not in package().__all__:
        return None
    *_, frame = traceback_frames(error)
    found = getattr(package(), first)
    if frame.f_globals.get(first, found) is not found:
        return None
    for name in rest or (["__init__"] if isinstance(found, type) else []):
        found = getattr(found, name, None)
    return found if isinstance(found, FunctionType) else None


def signature_of(function: Any) -> str:
    """How `function` is called, without types."""
    from inspect import Parameter, Signature, signature  # noqa: PLC0415  (it takes long to import)

    parameters = list(signature(function).parameters.values())
    if function is package().run:  # whose options are a kernel's
        parameters[1:] = list(signature(package().Kernel).parameters.values())
    if parameters and parameters[0].name == "self":
        del parameters[0]
    bare = Signature([each.replace(annotation=Parameter.empty) for each in parameters])
    return re.sub(r"<function (\w+) at \w+>", r"\1", str(bare))


def explained(function: Any, name: str) -> str:
    """What its docstring says of one argument."""
    found = re.search(rf"^\s+{name}: (.+)$", function.__doc__ or "", re.MULTILINE)
    return f"; {name}: {found[1]}" if found else ""


# Another library's loop

NO_LOOP = re.compile(
    r"no (running|current) event loop|async context|async backend|"
    r"'NoneType'.*'(create_future|create_task|call_\w+)'"
)
LOOPS = frozenset({"asyncio", "trio", "curio", "anyio", "sniffio"})


def of_asyncio(error: BaseException, text: str) -> str | None:
    """A call that only works in the loop of another library."""
    if not NO_LOOP.search(text):
        return None
    library, name = "asyncio", "get_running_loop"  # which is no Python, and has no frame
    theirs = [frame for frame in traceback_frames(error) if library_of(frame) in LOOPS]
    if theirs:
        library = library_of(theirs[0])
        name = theirs[0].f_code.co_qualname.removesuffix(".__init__")
    elif "event loop" not in text:
        return None
    first = name.split(".")[0]
    instead = called_here(first, package())
    if first in package().__all__:
        instead = f"use microthreads.{first}"
    return (
        f"{library}'s loop does not run under microthreads, so {library}.{name} cannot work"
        f"{'' if instead is None else f': {instead}'}"
    )


def library_of(frame: FrameType) -> str:
    """Which library's code runs in `frame`."""
    return str(frame.f_globals.get("__name__")).split(".")[0]


Rule = Callable[[Any, str], str | None]
RULES: tuple[tuple[type[BaseException], Rule], ...] = (
    (RuntimeError, of_asyncio),
    (AttributeError, of_asyncio),
    (AttributeError, absent),
    (NameError, undefined),
    (TypeError, wrong_arguments),
)


# What a task has yielded


OF_OTHERS = {
    "asyncio": ": it is asyncio's, whose loop does not run under microthreads",
    "_asyncio": ": it is asyncio's, whose loop does not run under microthreads",
    "concurrent": ": wait_future(future) waits for it",
}


def about_refused(thing: Any) -> str:
    """What to do about a `thing` that was yielded: it cannot be run, or cannot run again."""
    if is_routine(thing):
        return f"; a routine runs once: call {name_of(thing)}() again for another"
    module = type(thing).__module__.split(".")[0]
    verbs = [verb for verb in ("acquire", "wait", "get") if hasattr(thing, verb)]
    if isinstance(thing, list | tuple | set | frozenset):
        return ": yield them one by one; gather(*routines) runs several at once"
    if module in OF_OTHERS:
        return OF_OTHERS[module]
    if verbs:
        return f": did you mean its {verbs[0]}()?"
    if hasattr(thing, "__enter__"):
        return f": it is a block, `with {thing}:`, around what is to be yielded"
    return (
        ": a routine gives its result by `return`, and others along the way by "
        "`yield channel.send(value)`"
    )
