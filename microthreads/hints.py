"""Hints: what to do about an error whose message does not say it.

Python itself refuses many mistakes before this package sees them, and cannot know what was
meant. So an error that ends a task, or that `microthreads run` shows, is looked at once: if a
rule here knows it, the hint is added to it as a note.

A rule says what happened in this package's words, and what to write instead. It stays silent
rather than guess. Imported only when there is such an error. DOC: design/hints

    PATTERNS         by the kind of error and its text
    absent           an attribute that an object of ours lacks, or of a class made of ours
    undefined        a name that the program has not imported
    not_awaited      what is no routine was awaited
    called_value     what is no method was called
    wrong_arguments  a call of ours that did not fit: how it is called
    of_asyncio       a call of asyncio's, whose loop does not run here
"""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from itertools import islice
from types import CoroutineType, FrameType, FunctionType, GeneratorType, TracebackType
from typing import Any

from microthreads.errors import text_of
from microthreads.kernel.routines import is_routine, name_of
from microthreads.names import IN_OTHER_WORDS, called_here, meaning
from microthreads.places import get_traceback, is_ours

A_ROUTINE = (
    "if that is a routine, it has not run, and is no result yet: `yield` it in a generator, "
    "`await` it in an async def"
)
PATTERNS = (
    (
        TypeError,
        r"async_generator.* (can't be (used in 'await' expression|awaited)|is not iterable)",
        (
            "an `async def` with a `yield` in it is an async generator: `async for`, in another "
            "async def, goes through it; for a routine, write `await` in it for `yield`"
        ),
    ),
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
            "if that is a routine, it has not run: `with (yield routine) as ...:` in a generator, "
            "`with await routine as ...:` in an async def"
        ),
    ),
    (
        TypeError,
        r"'type' object does not support the (asynchronous )?context manager",
        "that is a class: if an object was meant, call it, as in `with TaskGroup() as group:`",
    ),
    (
        TypeError,
        r"bytes-like object.*'str'",
        "if it was for a connection, that carries bytes, not text: `write(text.encode())`",
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
        r"Task got bad yield: <\w+: ",
        "if that is a call of microthreads', its routine is for microthreads.run, not for asyncio",
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
        if made_by.startswith("<"):
            return None
        ours = is_ours(getattr(thing, "gi_code", None) or thing.cr_code)
        what = (
            f"{made_by}() made a routine, which" if ours else f"if {made_by}() makes a routine, it"
        )
        return f"{what} has not run: `yield` or `await` it first"
    kind = thing if isinstance(thing, type) else type(thing)
    if name is None or hasattr(kind, "attempt"):
        return None  # a system call says it itself
    return called_here(name, kind) if is_named_ours(kind) else not_begun(kind, name)


def not_begun(kind: type, name: str) -> str | None:
    """A class of the program's own inherits from one of ours, whose `__init__` sets `name`."""
    for base in kind.__mro__[1:]:
        begin: Any = vars(base).get("__init__")
        begin = getattr(begin, "__wrapped__", begin)  # in debug mode
        if is_named_ours(base) and type(begin) is FunctionType and name in begin.__code__.co_names:
            return f"the __init__ of {kind.__name__} must call super().__init__()"
    return None


def undefined(error: Any, text: str) -> str | None:
    """A program that has imported something of ours uses a name that it has not."""
    *_, frame = traceback_frames(error)
    if error.name is None or not any(is_named_ours(each) for each in frame.f_globals.values()):
        return None
    if error.name in package().__all__:
        return f"`from microthreads import {error.name}` is missing"
    known = called_here(error.name, package())
    return None if known is None else f"if microthreads' is meant: {known}"


# What is no method, and what is no routine

NO_WAIT = re.compile(r"(?:object '?|')([\w.]+)'?(?: object)? can't be (?:used in 'await'|awaited)")
ONE_BY_ONE = "await them one by one; gather(*routines) runs several at once"
CALL_IT = "that is the function itself: call it"
AWAITED = {
    "Future": "if it is an executor's: `await wait_future(future)`",
    "NoneType": "if a plain call was awaited, such as `event.set()`: it needs no `await`",
    "function": CALL_IT,
    "list": ONE_BY_ONE,
    "method": CALL_IT,
    "set": ONE_BY_ONE,
    "tuple": ONE_BY_ONE,
}


def not_awaited(error: BaseException, text: str) -> str | None:
    """Something was awaited that is no routine."""
    match = NO_WAIT.match(text)
    if match is None:
        return None
    name = match[1].rpartition(".")[2]
    kind = ours_called(name, error)
    return AWAITED.get(name) or (verbs_of(kind) if isinstance(kind, type) else None)


VERBS = ("acquire", "wait", "get", "put", "recv", "send", "read", "write")


def verbs_of(kind: type) -> str | None:
    """What may be meant by waiting for an object of one of our classes itself."""
    verbs = [f"{verb}()" for verb in VERBS if hasattr(kind, verb)]
    return f"did you mean its {' or '.join(verbs[:2])}?" if verbs else None


def called_value(error: BaseException, text: str) -> str | None:
    """A value that an object of ours has was called, as a method is."""
    if not text.endswith("object is not callable"):
        return None
    trace = get_traceback(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    names = [] if trace is None else called_at(trace)
    if len(names) < 2:
        return None
    owner = type(meaning(names[:-1], trace.tb_frame))
    if not is_named_ours(owner) or callable(getattr(owner, names[-1], print)):
        return None
    known = called_here(names[-1], owner)
    return known or f"{names[-1]} of a {owner.__name__} is no method: leave the parentheses away"


def called_at(trace: TracebackType) -> list[str]:
    """The dotted name that is called where `trace` stands, or an empty list."""
    import ast  # noqa: PLC0415  (it takes its time to import)
    from linecache import getline  # noqa: PLC0415  (likewise)

    code, reached = trace.tb_frame.f_code, trace.tb_lasti
    line, last, start, end = next(islice(code.co_positions(), reached // 2, None))
    source = getline(code.co_filename, line or 0).encode()[start:end]
    try:
        call = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError):
        return []
    return ast.unparse(call.func).split(".") if type(call) is ast.Call and line == last else []


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
    found = ours_called(first, error)
    for name in rest or (["__init__"] if isinstance(found, type) else []):
        found = getattr(found, name, None)
    return found if isinstance(found, FunctionType) else None


def ours_called(name: str, error: BaseException) -> Any:
    """What we call so, unless the program has something of its own of that name."""
    if name not in package().__all__:
        return None
    *_, frame = traceback_frames(error)
    found = getattr(package(), name)
    return found if frame.f_globals.get(name, found) is found else None


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
THREADS = frozenset({"concurrent.futures.thread", "threading"})
ASKS = ("get_running_loop", "get_event_loop")  # no Python, so they have no frame


def of_asyncio(error: BaseException, text: str) -> str | None:
    """A call that only works in the loop of another library, which does not run in this thread."""
    if not NO_LOOP.search(text):
        return None
    frames = list(traceback_frames(error))
    if not frames or any(frame.f_globals.get("__name__") in THREADS for frame in frames):
        return None
    theirs = [frame for frame in frames if library_of(frame) in LOOPS]
    asked = [name for name in ASKS if name in frames[-1].f_code.co_names]
    if frames[-1] in theirs:
        library = library_of(theirs[0])
        name = theirs[0].f_code.co_qualname.removesuffix(".__init__")
    elif asked and not theirs:
        library, name = "asyncio", asked[0]
    else:
        return None
    first = name.split(".")[0]
    instead = called_here(first, package())
    if first in package().__all__:
        instead = f"use microthreads.{first}"
    return (
        f"{library}.{name} needs {library}'s loop, which does not run here"
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
    (TypeError, not_awaited),
    (TypeError, called_value),
)


# What a task has yielded


OF_OTHERS = {
    "asyncio": ": it is asyncio's, whose loop does not run under microthreads",
    "_asyncio": ": it is asyncio's, whose loop does not run under microthreads",
    "concurrent": ": wait_future(future) waits for it",
}


A_VALUE = (
    ": a routine gives its result by `return`, and others along the way by "
    "`yield channel.send(value)`"
)


def about_refused(thing: Any) -> str:
    """What to do about a `thing` that was yielded: it cannot be run, or cannot run again."""
    if is_routine(thing):
        return f"; a routine runs once: call {name_of(thing)}() again for another"
    module = type(thing).__module__.split(".")[0]
    if module in OF_OTHERS:
        return OF_OTHERS[module]
    if isinstance(thing, AsyncGenerator):
        return ": an async generator is gone through by `async for`, in an async def"
    if isinstance(thing, list | tuple | set | frozenset):
        return ": yield them one by one; gather(*routines) runs several at once"
    if is_named_ours(type(thing)):
        return about_ours(thing)
    return A_VALUE if module == "builtins" else ""


def about_ours(thing: Any) -> str:
    """What to do about an object of ours that was yielded; "" if nothing is known."""
    verbs = verbs_of(type(thing))
    if verbs is None and hasattr(thing, "__enter__"):
        return f": it is a block, `with {thing}:`, around what is to be yielded"
    return "" if verbs is None else f": {verbs}"
