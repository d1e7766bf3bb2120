"""parallel_map: one function over many items, so many at a time, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar, overload

from microthreads.groups.calls import GroupSpawn
from microthreads.groups.group import TaskGroup
from microthreads.groups.together import results_of
from microthreads.kernel import Place, Routine, SystemCall, Task, place_of_caller
from microthreads.kernel.routines import is_routine
from microthreads.spelling import AwaitableGenerator, any_spelling
from microthreads.sync import Semaphore

A = TypeVar("A")
T = TypeVar("T")

# What a plain function may return, to type checkers. It must leave out routines: mypy infers
# Any from a generator function that two overloads match.
Plain: TypeAlias = (
    str | bytes | bytearray | complex | tuple[Any, ...] | list[Any] | dict[Any, Any]
    | set[Any] | frozenset[Any] | None
)  # fmt: skip
V = TypeVar("V", bound=Plain)

NOTHING = object()


@overload
def parallel_map(
    fn: Callable[[A], Routine[T] | SystemCall[T] | Task[T]], items: Iterable[A], *, limit: int
) -> ParallelMap[T]: ...
@overload
def parallel_map(fn: Callable[[A], V], items: Iterable[A], *, limit: int) -> ParallelMap[V]: ...
def parallel_map(fn: Callable[[Any], Any], items: Iterable[Any], *, limit: int) -> ParallelMap[Any]:
    """Call `fn` on each of `items`, at most `limit` at a time; the results in order.

    A routine that returns the list of results: ``yield parallel_map(...)``, or `yield
    from`, or `await`. Or, in a coroutine, a stream of results, where no more than
    `limit` items are begun and not yet received::

        async with parallel_map(fetch, addresses, limit=5) as pages:
            async for page in pages: ...

    Args:
        fn: A function of one item that returns a routine, as a generator function
            or an `async def` does; or a plain function.
        items: Any iterable. An item is taken when there is a task for it.
        limit: How many tasks at most.

    Raises:
        ValueError: `limit` is less than 1.
        TypeError: It is not an integer, or `fn` cannot be called.
        ExceptionGroup: At the yield: calls failed. The others were cancelled.
    """
    if not isinstance(limit, int):
        raise TypeError(f"parallel_map() needs an integer limit, got {limit!r}")
    if limit < 1:
        raise ValueError(f"parallel_map() needs a limit >= 1, got {limit}")
    if not callable(fn):
        raise TypeError(f"parallel_map() needs a function, to be called with each item, got {fn!r}")
    return ParallelMap(fn, items, limit, place_of_caller())


class ParallelMap(AwaitableGenerator[list[T]], Generic[T]):
    """What `parallel_map` returns: a routine, and a stream."""

    def __init__(
        self, fn: Callable[[Any], Any], items: Iterable[Any], limit: int, place: Place
    ) -> None:
        self._begin = partial(begin, fn, place)
        self._items = iter(items)
        self._limit = limit
        self._collecting: Any = None
        self._group = TaskGroup()
        self._ahead: deque[Task[T]] = deque()
        self._next: Any = NOTHING

    # The list: a new item is begun whenever one of `limit` is done

    @property
    def _list(self) -> Any:
        """The routine that returns the list; a stream never has it, which would hold the map."""
        if self._collecting is None:
            self._collecting = collected(self._begin, self._group, self._items, self._limit)
        return self._collecting

    def send(self, value: Any) -> Any:
        """Go on with the routine that returns the list."""
        if self.gi_frame is None:
            raise RuntimeError("this parallel_map is used up: make another one")
        try:
            return self._list.send(value)
        finally:
            del self, value  # the traceback of an error that it holds has this frame

    def throw(self, *error: Any) -> Any:
        """Raise `error` in the routine that returns the list."""
        return self._list.throw(*error)

    def __await__(self) -> Generator[Any, Any, list[T]]:
        return (yield from self)

    @property
    def gi_frame(self) -> Any:
        """Where it is, as of any generator."""
        return self._list.gi_frame

    @property
    def gi_yieldfrom(self) -> Any:
        """What it waits in, as of any generator."""
        return self._list.gi_yieldfrom

    # The stream: `limit` items are begun ahead of the one that is received

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._group.cancel("its results are not wanted any more")
        self._ahead.clear()
        try:
            return await self._group.__aexit__(kind, error, trace)
        finally:
            del self, error, trace  # tracebacks have this frame

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if not self._group.open:
            raise RuntimeError(
                "a parallel_map is streamed inside its block: `async with parallel_map(...) as "
                "results:`, and there `async for result in results:`"
            )
        while len(self._ahead) < self._limit:
            if self._next is NOTHING:
                self._next = next(self._items, NOTHING)
            if self._next is NOTHING:
                break
            # What is taken stays here until the yield has succeeded: that may be cancelled.
            self._ahead.append(await self._begin(self._group, self._next, None))
            self._next = NOTHING
        if not self._ahead:
            raise StopAsyncIteration
        first = self._ahead[0]
        try:
            return await first
        finally:
            if first.done:  # else this was cancelled, and asks for it again
                self._ahead.popleft()
            del self, first  # the traceback of its error has this frame


# Functions, not methods: what they make must not hold the map that holds it


def begin(
    fn: Callable[[Any], Any], place: Place, group: TaskGroup, item: Any, slots: Semaphore | None
) -> GroupSpawn[Any]:
    """Begin with an item, in a task of its own."""
    return GroupSpawn(group, one(fn, item, slots), getattr(fn, "__name__", None), False, place)


def one(fn: Callable[[Any], Any], item: Any, slots: Semaphore | None) -> Generator[Any, Any, Any]:
    """What the task of one item runs."""
    try:
        result = fn(item)
        if is_routine(result) or isinstance(result, SystemCall | Task):
            result = yield result
    finally:
        if slots is not None:
            slots.release()
    return result


@any_spelling
async def collected(
    begin: Callable[..., GroupSpawn[Any]], group: TaskGroup, items: Iterator[Any], limit: int
) -> list[Any]:
    """The list of all results."""
    slots = Semaphore(limit)
    tasks = []
    async with group:
        while True:
            await slots.acquire()
            try:
                item = next(items)
            except StopIteration:
                break
            tasks.append(await begin(group, item, slots))
    return results_of(tasks)
