"""Queues: the names and the meaning of `queue`, as system calls.

A queue counts its unfinished items: `put` adds one, `task_done` takes one off,
and `join` waits until there is none. `shutdown` lets nothing more be put; what is
there can still be taken, unless it is to be dropped. Python 3.13's `queue` has
that, too.

An item that is put while a task waits to get goes straight to that task; when an
item is taken and tasks wait to put, the first one's item comes in. So waiters are
served first come, first served, and an item is never in two places or in none.

Invariants: tasks wait to get only while the queue is empty, to put only while it
is full, and not at all when it is shut down; `join` waits only while items are
unfinished.
"""

from __future__ import annotations

import contextlib
import heapq
import queue
from collections import deque
from collections.abc import AsyncIterator
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from microthreads.errors import text_of
from microthreads.kernel import PENDING, Failure, SystemCall, WaitQueue
from microthreads.kernel.current import headroom
from microthreads.kernel.syscalls import room_for
from microthreads.queues.calls import Get, Put, QueueJoin, limited

T = TypeVar("T")

if TYPE_CHECKING or not hasattr(queue, "ShutDown"):

    class ShutDown(Exception):  # noqa: N818  (the name that `queue` gives it)
        """The queue was shut down. Python 3.13's own, where there is one."""

else:
    ShutDown = queue.ShutDown


class Queue(Generic[T]):
    """A queue, first in, first out.

    ``async for item in queue`` gets items until the queue is shut down and empty.

    Args:
        maxsize: How many items it may hold; 0 or less for any number.
        name: What reports call it.

    Attributes:
        maxsize: How many items it may hold.
        unfinished_tasks: How many were put, and not yet said to be done.
        is_shutdown: Whether it was shut down.
    """

    def __init__(self, maxsize: int = 0, *, name: str | None = None) -> None:
        if not isinstance(maxsize, int):
            raise TypeError(f"{type(self).__name__}() needs an integer maxsize, got {maxsize!r}")
        self.maxsize = maxsize
        self.name = None if name is None else str(name)
        self.unfinished_tasks = 0
        self.is_shutdown = False
        self.putters = WaitQueue()
        self.getters = WaitQueue()
        self.joiners = WaitQueue()
        self._init(maxsize)

    # How items are kept: what other kinds of queue override, as in `queue`

    def _init(self, maxsize: int) -> None:
        self.queue: Any = deque()

    def _qsize(self) -> int:
        return len(self.queue)

    def _put(self, item: T) -> None:
        self.queue.append(item)

    def _get(self) -> T:
        item: T = self.queue.popleft()
        return item

    # Plain calls

    def qsize(self) -> int:
        """How many items it holds. A plain call."""
        return self._qsize()

    def empty(self) -> bool:
        """Whether it holds nothing. A plain call."""
        return not self._qsize()

    def full(self) -> bool:
        """Whether it holds as many items as it may. A plain call."""
        return 0 < self.maxsize <= self._qsize()

    def put_nowait(self, item: T) -> None:
        """Put `item` if there is room. A plain call.

        Raises:
            Full: There is none.
            ShutDown: The queue was shut down.
        """
        if not self.try_put(item):
            self._refuse_put()

    def get_nowait(self) -> T:
        """Take the next item if there is one. A plain call.

        Raises:
            Empty: There is none.
            ShutDown: There is none, and the queue was shut down.
        """
        item = self.try_get()
        if item is PENDING:
            self._refuse_get()
        taken: T = item
        return taken

    def task_done(self) -> None:
        """Say that the work on an item that was taken is done. A plain call.

        Raises:
            ValueError: It was called more often than items were put.
        """
        if self.unfinished_tasks <= 0:
            raise ValueError(f"task_done() called too many times on {self}")
        if self.joiners.first is not None:
            self.joiners.check_room()
        self.unfinished_tasks -= 1
        self._wake_joiners()

    def shutdown(self, immediate: bool = False) -> None:
        """Let nothing more be put; tasks that wait get `ShutDown`. A plain call.

        Args:
            immediate: Whether to drop what is there, as if it had been done;
                otherwise it can still be taken.
        """
        for waiters in (self.getters, self.putters, self.joiners):
            waiters.check_room()
        self.is_shutdown = True
        text = f"{text_of(self)} was shut down"
        try:
            if immediate:
                self._drop_all()
        finally:  # whatever its items, or a class of the program's own, make of that
            for waiters in (self.getters, self.putters):
                while waiters.first is not None:
                    waiters.wake_first(Failure(ShutDown(text)))
            self._wake_joiners()

    def _drop_all(self) -> None:
        """Take out all items, as if they had been done."""
        while self._qsize():
            self._get()
            self.unfinished_tasks -= self.unfinished_tasks > 0

    # System calls

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> SystemCall[None]:
        """A system call that puts `item`, waiting for room.

        Args:
            item: Anything.
            block: Whether to wait.
            timeout: How long to wait, in seconds; None for as long as it takes.

        Raises:
            Full: At the yield: there was no room, so long.
            ShutDown: At the yield: the queue was shut down; nothing was put.
            ValueError: `timeout` is negative.
        """
        return limited(Put(self, item), block, timeout, self._refuse_put)

    def get(self, block: bool = True, timeout: float | None = None) -> SystemCall[T]:
        """A system call that takes the next item, waiting for one.

        Args:
            block: Whether to wait.
            timeout: How long to wait, in seconds; None for as long as it takes.

        Raises:
            Empty: At the yield: there was nothing, so long.
            ShutDown: At the yield: the queue was shut down, and is empty.
            ValueError: `timeout` is negative.
        """
        return limited(Get(self), block, timeout, self._refuse_get)

    def join(self) -> SystemCall[None]:
        """A system call that waits until all that was put is said to be done."""
        return QueueJoin(self)

    # How they are done

    def try_put(self, item: T) -> bool:
        full = self.full()
        if self.is_shutdown:
            raise ShutDown(f"cannot put into {self}: it was shut down")
        if full:
            return False
        self._put(item)
        self.unfinished_tasks += 1
        try:  # written out, since nothing but `wake_first` may need more of the stack
            while self.getters.first is not None and self._qsize():
                try:
                    taken: Any = self._get()
                except BaseException as error:  # it is the getter's
                    taken = Failure.caught(error)
                if not self.getters.wake_first(taken) and type(taken) is not Failure:
                    self._put(taken)  # that one's wait was ended by another just now
        except BaseException:  # the stack is full: as if it had not been put
            self.unfinished_tasks -= 1
            raise
        return True

    def try_get(self) -> Any:
        if not self._qsize():
            if self.is_shutdown:
                raise ShutDown(f"cannot get from {self}: it was shut down, and is empty")
            return PENDING
        if self.putters.first is not None:
            headroom(8 + room_for(self.putters.first))
        item = self._get()
        while self.putters.first is not None and not self.full():
            self._put_for(self.putters.first)
        return item

    def _put_for(self, putter: Any) -> None:
        """Put the item of the first that waits to. If it cannot be put, that is its own error."""
        try:
            self._put(putter.item)
        except BaseException as error:  # one that cannot be ordered, say
            self.putters.wake_first(Failure.caught(error))
        else:
            self.unfinished_tasks += 1
            self.putters.wake_first()

    def _wake_joiners(self) -> None:
        while not self.unfinished_tasks and self.joiners.first is not None:
            self.joiners.wake_first()

    def _refuse_put(self) -> NoReturn:
        raise Full(f"{self} is full")

    def _refuse_get(self) -> NoReturn:
        raise Empty(f"{self} is empty")

    def __aiter__(self) -> AsyncIterator[T]:
        return _Items(self)

    if not TYPE_CHECKING:  # which refuses it by itself

        def __iter__(self) -> NoReturn:
            raise TypeError(
                f"a plain `for` (or unpacking) cannot wait for {self}: write `async for` in an "
                "async def, or `while True: item = yield queue.get()`, which ShutDown ends"
            )

    def __str__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        size = f"{self._qsize()}/{self.maxsize}" if self.maxsize > 0 else f"{self._qsize()}"
        return f"{type(self).__name__}{name} ({size}{', shut down' * self.is_shutdown})"

    def __repr__(self) -> str:
        return f"<{self}>"


class LifoQueue(Queue[T]):
    """A stack: last in, first out. Otherwise like `Queue`."""

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _get(self) -> T:
        item: T = self.queue.pop()
        return item


class PriorityQueue(Queue[T]):
    """A queue that gives the smallest item first. Otherwise like `Queue`.

    Items must be comparable; pairs (priority, item) are customary.
    """

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _put(self, item: T) -> None:
        before = len(self.queue)
        try:
            heapq.heappush(self.queue, item)
        except BaseException:
            # It stands somewhere on its way up; nothing else has been lost.
            if len(self.queue) > before:
                del self.queue[next(i for i, each in enumerate(self.queue) if each is item)]
                heapq.heapify(self.queue)
            raise

    def _get(self) -> T:
        item: T = self.queue[0]
        try:
            heapq.heappop(self.queue)
        except BaseException:
            self.queue.append(item)
            with contextlib.suppress(Exception):
                heapq.heapify(self.queue)
            raise
        return item

    def _drop_all(self) -> None:
        self.unfinished_tasks = max(0, self.unfinished_tasks - len(self.queue))
        self.queue.clear()  # without comparing any


class _Items(AsyncIterator[T]):
    """The items of a queue, until it is shut down and empty."""

    def __init__(self, source: Queue[T]) -> None:
        self._source = source

    async def __anext__(self) -> T:
        try:
            return await self._source.get()
        except ShutDown:
            raise StopAsyncIteration from None
