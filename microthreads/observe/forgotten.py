"""Forgotten yields: who made a call that was never yielded, and where.

`sleep(1)` on a line of its own does nothing: it makes a call, and drops it. In debug
mode such a call, or a routine of this library's such as `gather(...)`, is told of at
the end of its life, as Python tells of a coroutine that "was never awaited": by a
RuntimeWarning at the line that made it. What is alive when Python ends is told then.

A call counts as made when its `attempt`, `arm` or `discard` was called, so whoever
makes it may be the kernel, a `select`, a group or a call of the program's own; a
routine when it begins. A routine or a call that was given to another one is that
one's to tell of. A routine that was closed by hand is told of: since Python 3.12 nothing
in it can tell (`close()` leaves the frame of one that has not begun as it is).

It is the news that has to be right, so three things are not told of: what a task did
not come to yield since it was cancelled; what the library made for itself, or while the
kernel was at work; and what could not be made, since its constructor raised. What is
told of stands at a line of the program, never at one of the library's.

`watch` puts all this in place, round the classes that it is about. Where it is not
called, not one instruction is spent on it. Read next: misheard.py.

Invariant: `made` has what was made and not used, each by its identity.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import linecache
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from dis import get_instructions
from types import CodeType, coroutine
from typing import Any
from weakref import ref

from microthreads import spelling
from microthreads.kernel import Core, Join, Scope, SystemCall, Task, routines, running_kernel
from microthreads.kernel.routines import ASYNC_GENERATOR
from microthreads.observe.misheard import asked, deaf, refused, unheard
from microthreads.places import PACKAGE, RESUMABLE, is_ours
from microthreads.runtime import interrupts
from microthreads.runtime.advice import makes_what_is_yielded
from microthreads.runtime.inbox import Inbox

GENERATOR, ROUTINES = 0x20, 0x80 | ASYNC_GENERATOR  # what `yield`s, and what `await`s
PASSED_OVER = (__file__, "<frozen ")  # files whose code stands between, here and in Python
LONGEST = 60  # letters of the program that a message quotes
USES = ("attempt", "arm", "discard", "__await__")  # of a call
USES_OF_ROUTINE = ("send", "throw", "__aenter__")

moments = itertools.count(1)
interrupted: dict[int, int] = {}  # by the ids of tasks: when each was last told to end


class Made:
    """Where something was made, by whom, and when.

    It is known by the code and how far in it, as a place is: to look up the line, and
    the words there, is put off until they are to be told.
    """

    __slots__ = ("called", "code", "module", "moment", "reached", "task", "watching")

    def __init__(self, frame: Any, called: str) -> None:
        self.code: CodeType = frame.f_code
        self.reached: int = frame.f_lasti
        self.module = frame.f_globals.get("__name__")
        self.called = called
        self.moment = next(moments)
        kernel = running_kernel()
        self.task = None if kernel is None or kernel.current is None else id(kernel.current)
        self.watching: Any = None

    @property
    def excused(self) -> bool:
        """Whether the task was told to end before it came to the yield."""
        return self.task is not None and interrupted.get(self.task, 0) > self.moment


made: dict[int, Made] = {}


def used(thing: Any) -> None:
    """`thing` was yielded, or given to somebody who will see to it, with all that it is made of."""
    made.pop(id(thing), None)
    given(attribute(thing, "calls") or ())


def discarded(request: Any) -> None:
    """The kernel was given this, and drops it, with what it was to have begun with."""
    used(request)
    for frame in routines.frames_of(request):
        given(frame.f_locals.values())


def posted(function: Any) -> None:
    """The kernel is to call `function`, and nobody gets what it returns."""
    entry = maker("post") if makes_what_is_yielded(function) else None
    if entry is not None:
        name = getattr(function, "__qualname__", function)
        text = f"{name}() makes what is to be yielded, and post() only calls it, so it does nothing"
        tell(
            f"{text}: post a plain call, or submit() a routine", file_and_line(entry), entry.module
        )


def gone(identity: int) -> None:
    """What had this identity is no more, and was perhaps never used."""
    entry = made.pop(identity, None)
    if entry is not None and not entry.excused:
        tell(news_of(entry), file_and_line(entry), entry.module)


# Who made it


AT_WORK = (Core.turn.__code__, Core._round.__code__, Core._trap.__code__, Inbox.serve.__code__)


def maker(called: str) -> Made | None:
    """The code of the program that asks for something, or the library's own routine that does.

    None if the kernel itself does, at work on something else, or an object of the library's
    that makes a call once, to have it at hand.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code in AT_WORK:
            return None
        if not code.co_filename.startswith(PASSED_OVER):
            if not is_ours(code) or code.co_flags & RESUMABLE:
                return Made(frame, called)
            if code.co_name == "__init__":
                return None
            called = code.co_qualname
        frame = frame.f_back
    return None


# What is said


def file_and_line(entry: Made) -> tuple[str, int]:
    """The file, and the line."""
    return entry.code.co_filename, positions(entry)[0]


def positions(entry: Made) -> tuple[int, int | None, int | None, int | None]:
    """Of the expression: its first and its last line, its first column and the one behind it."""
    found = next(itertools.islice(entry.code.co_positions(), entry.reached // 2, None))
    line, last, column, end = found
    return line or entry.code.co_firstlineno, last, column, end


def words_of(entry: Made) -> str:
    """The expression as the program has it, or what it calls."""
    line, last, column, end = positions(entry)
    source = linecache.getline(entry.code.co_filename, line).encode()
    words = source[column:end].decode(errors="replace") if line == last else ""
    return words if 0 < len(words) <= LONGEST else f"{entry.called}(...)"


def news_of(entry: Made) -> str:
    """What is told of something that was never used."""
    words, flags = words_of(entry), entry.code.co_flags
    if f"{entry.called.rpartition('.')[2]}(" not in words:  # it came out of something else
        return f"what `{words}` made was never yielded or awaited, so it did nothing"
    if went_elsewhere(entry):
        return (
            f"{words} was yielded, but not to the kernel, so it did nothing: whatever runs "
            f"{entry.code.co_name}() itself (a `for`, next(), the `with` of a @contextmanager) got "
            "the call in place of its result. Have a task yield the routine, or use "
            "@asynccontextmanager and `async with`"
        )
    if flags & ROUTINES:
        return f"{words} was never awaited, so it did nothing: `await {words}`"
    if entry.code.co_name == "<genexpr>":
        return f"{words} was never yielded by a routine, so it did nothing"
    if flags & GENERATOR:
        return f"{words} was never yielded, so it did nothing: `yield {words}`"
    return (
        f"{words} was never yielded or awaited, so it did nothing: a task does that, "
        f"by `yield {words}` in a routine"
    )


def went_elsewhere(entry: Made) -> bool:
    """Whether the very next thing that the code does with it is to yield it."""
    after = (each.opname for each in get_instructions(entry.code) if each.offset > entry.reached)
    first, second = next(after, ""), next(after, "")
    wraps = bool(entry.code.co_flags & ASYNC_GENERATOR)
    return first == "YIELD_VALUE" or (wraps and second == "YIELD_VALUE")


told_at: dict[str, dict[Any, Any]] = {}  # by files, what `warnings` remembers of each


def tell(text: str, place: tuple[str, int], module: str | None = None) -> None:
    """Warn of the program's code at `place`, as if that had called `warnings.warn`."""
    if place[0].startswith(PACKAGE):
        return  # nobody can mend that there
    module = module or place[0].removesuffix(".py")  # as `warnings` itself has it
    registry = told_at.setdefault(place[0], {})
    warnings.warn_explicit(text, RuntimeWarning, *place, module=module, registry=registry)


def tell_all() -> None:
    """Tell of all that is left: Python is ending, and nothing can be told of after that."""
    for identity in list(made):
        gone(identity)
    classes: tuple[Any, ...] = (SystemCall, spelling.AwaitableGenerator, Task)
    for cls in classes:
        del cls.__del__


# What is watched


def watch() -> None:
    """Begin to tell of forgotten yields: all calls, and what is decorated from now on.

    It is called before the modules that have routines (groups, net) are imported.
    """
    if spelling.watched is not None:
        return
    spelling.watched = watch_function
    for cls in family(SystemCall):
        watch_class(cls, USES)
    watch_children(SystemCall, USES)
    watch_children(spelling.AwaitableGenerator, USES_OF_ROUTINE)
    wrap(SystemCall, "_not_made", lambda call, problem: used(call))  # an error that says it, too
    wrap(routines, "_hint", used)  # and this is a part of one
    wrap(Core, "discard", lambda kernel, request: discarded(request))
    wrap(Core, "_call_failed", lambda kernel, task, call, *_: used(call))
    wrap(Inbox, "post", lambda inbox, function, args: posted(function))
    watch_tasks()
    atexit.register(tell_all)


def watch_tasks() -> None:
    """Note when a task is told to end, what it yields then, and who asks for its result."""

    def told_to_end(task: Task[Any] | None) -> None:
        interrupted[id(task)] = next(moments)

    def cancelled(task: Task[Any], call: Any) -> None:
        told_to_end(task)
        deaf.setdefault(task, 0)

    # A signal handler has raised while the kernel was at work: what was yielded is lost.
    wrap(interrupts, "mend", lambda kernel, error: told_to_end(kernel.current))
    wrap(Core, "_refuse", lambda kernel, *args: tell_if(refused(*args)))
    wrap(Task, "interruption", cancelled)
    wrap(Scope, "interruption", lambda scope, call: told_to_end(scope.task))
    wrap(Task, "_outcome", lambda task: asked.add(id(task)))
    wrap(Join, "__init__", lambda join, task: asked.add(id(task)))
    wrap(Core, "_call", lambda kernel, task, what: asked.add(id(what)) if is_task(what) else None)
    setattr(Task, "__del__", lambda task: tell_if(unheard(task)))  # noqa: B010  (mypy knows none)


def is_task(thing: Any) -> bool:
    """Whether it is yielded to be joined."""
    return type(thing) is Task


def tell_if(news: tuple[str, tuple[str, int]] | None) -> None:
    """Tell, if there is something."""
    if news is not None:
        tell(*news)


def family(cls: type[Any]) -> Iterator[type[Any]]:
    """A class, and all that inherit from it."""
    yield cls
    for child in cls.__subclasses__():
        yield from family(child)


def watch_children(cls: Any, uses: tuple[str, ...]) -> None:
    """Watch what will inherit from `cls`, and see when anything of these ends."""

    def begin(child: type[Any], /, **options: Any) -> None:
        super(cls, child).__init_subclass__(**options)
        watch_class(child, uses)

    cls.__init_subclass__ = classmethod(begin)
    cls.__del__ = ended


def ended(thing: Any) -> None:
    """An object that is watched is no more. What it was made of is not told of beside it."""
    entry = made.get(id(thing))
    if entry is not None:
        given([attribute(thing, "routine")])
        gone(id(thing))
        used(thing)


def watch_class(cls: Any, uses: tuple[str, ...]) -> None:
    """Note when one of its objects is made, and when it is used."""
    if "__init__" in vars(cls):
        cls.__init__ = noting(cls.__init__)
    for name in uses:
        if name in vars(cls):
            wrap(cls, name, lambda self, *_: used(self))


def noting(begin: Callable[..., None]) -> Callable[..., None]:
    """An `__init__` that notes what is made by it, if it does not raise."""

    @functools.wraps(begin)
    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            begin(self, *args, **kwargs)
        except BaseException:
            used(self)  # by a constructor of a base class
            raise
        entry = maker(type(self).__name__)
        if entry is None:
            made.pop(id(self), None)  # what had this identity before did not say that it ended
        else:
            made[id(self)] = entry

    return noted


def wrap(cls: Any, name: str, before: Callable[..., None]) -> None:
    """Have `before` called with the same arguments before each call of a method."""
    method = vars(cls)[name]

    @functools.wraps(method)
    def wrapped(*args: Any) -> Any:
        before(*args)
        try:
            return method(*args)
        finally:
            del args  # the traceback of an error has this frame

    setattr(cls, name, wrapped)


def watch_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `any_spelling` makes of a function whose routines are watched."""

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        for each in args:
            given(each if type(each) is tuple else (each,))
        entry = maker(function.__qualname__)
        routine: Any = begun(entry, function, args, kwargs)
        routine.__name__, routine.__qualname__ = function.__name__, function.__qualname__
        if entry is not None:
            identity = id(routine)
            entry.watching = ref(routine, lambda _: gone(identity))
            made[identity] = entry
        return routine

    return watched


@coroutine
def begun(entry: Made | None, function: Any, args: Any, kwargs: Any) -> Generator[Any, Any, Any]:
    """The routine itself: when this runs, it has begun."""
    if entry is not None:
        made.pop(id(entry.watching()), None)
    del entry
    return (yield from function(*args, **kwargs))


def attribute(thing: Any, name: str) -> Any:
    """An attribute, whatever its class makes of being asked, or None."""
    try:
        return object.__getattribute__(thing, name)
    except AttributeError:
        return None


def given(parts: Any) -> None:
    """These were given to something that will tell of itself."""
    for part in parts:
        used(part)
