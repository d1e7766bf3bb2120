"""parallel_map: one function over many items, so many at a time, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from microthreads.groups.calls import GroupSpawn
from microthreads.groups.group import TaskGroup
from microthreads.kernel import Place, Routine, SystemCall, Task, place_of_caller
from microthreads.kernel.routines import is_routine
from microthreads.spelling import any_spelling
from microthreads.sync import Semaphore

T = TypeVar("T")

NOTHING = object()


def parallel_map(
    fn: Callable[[Any], Routine[T] | T], items: Iterable[Any], *, limit: int
) -> ParallelMap[T]:
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


class ParallelMap(Generator[Any, Any, list[T]], Generic[T]):
    """What `parallel_map` returns: a routine, and a stream."""

    def __init__(
        self, fn: Callable[[Any], Any], items: Iterable[Any], limit: int, place: Place
    ) -> None:
        self._call = fn
        self._items = iter(items)
        self._limit = limit
        self._place = place
        self._list: Any = self._collected()
        self._group = TaskGroup()
        self._ahead: deque[Task[T]] = deque()
        self._next: Any = NOTHING

    # The list: a new item is begun whenever one of `limit` is done

    @any_spelling
    async def _collected(self) -> list[T]:
        slots = Semaphore(self._limit)
        tasks = []
        async with self._group as group:
            while True:
                await slots.acquire()
                try:
                    item = next(self._items)
                except StopIteration:
                    break
                task = await self._begin(group, item, slots)
                tasks.append(task)
        return [task.result() for task in tasks]

    def _begin(self, group: TaskGroup, item: Any, slots: Semaphore | None) -> GroupSpawn[T]:
        name = getattr(self._call, "__name__", None)
        return GroupSpawn(group, self._one(item, slots), name, False, self._place)

    def _one(self, item: Any, slots: Semaphore | None) -> Generator[Any, Any, T]:
        try:
            result: Any = self._call(item)
            if is_routine(result) or isinstance(result, SystemCall | Task):
                result = yield result
        finally:
            if slots is not None:
                slots.release()
        return cast("T", result)

    def send(self, value: Any) -> Any:
        """Go on with the routine that returns the list."""
        if self.gi_frame is None:
            raise RuntimeError("this parallel_map is used up: make another one")
        return self._list.send(value)

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
    ) -> bool:
        self._group.cancel("its results are not wanted any more")
        return await self._group.__aexit__(kind, error, trace)

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
        result = await self._ahead[0]
        self._ahead.popleft()
        return result
