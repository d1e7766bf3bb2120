"""The data of a cache: values by keys, which may have a time to end.

A value is `bytes`, a deque (a list), a set, or a dict (a hash). No collection is
empty: one that becomes so is removed.

Expired keys are removed in two ways: whoever looks for one finds nothing, at once; and
a task, `expire_keys`, removes those that nobody looks for when their time comes, so
that their memory is free. Its heap has an entry for each deadline that was ever set. Those
that no longer hold are passed over, and thrown out when they are most of the heap.

`pop_when_there` is a system call of our own: a key is a place where tasks wait, and whoever
pushes hands its items to them, the longest waiting first. As with any call, `select`
takes several of them, and exactly one takes effect: BLPOP is no more than that.

Invariants: `used` is the cost of all there is; every key in `deadlines` is in `data`;
nobody waits at a key that has a list.

Read next: containers.py for BLPOP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Literal, TypeAlias, TypeVar

from microthreads import Event, SystemCall, Task, now, select, sleep_until
from microthreads.kernel import PENDING, Pending, Wait, Waiter, WaitQueue

Value: TypeAlias = "bytes | deque[bytes] | set[bytes] | dict[bytes, bytes]"
C = TypeVar("C", deque[bytes], set[bytes], dict[bytes, bytes])

# What things take in bytes, besides their own, as it was measured with 100,000 of each.
KEY = 150
DEADLINE = 140
ITEM = 60
EMPTY = {deque: 700, set: 200, dict: 200}
AT_ONCE = 1000  # keys that are removed before others have their turn


class WrongTypeError(Exception):
    """The key has a value of another kind."""


class Store:
    """Keys, their values, and when they end.

    Args:
        clock: What tells the time; that of the kernel, unless a test has its own.

    Attributes:
        data: The values. Change them by the methods only.
        deadlines: When keys end, if they do.
        used: About how many bytes all this takes.
        expired: How many keys have ended by themselves.
    """

    def __init__(self, clock: Callable[[], float] = now) -> None:
        self.clock = clock
        self.data: dict[bytes, Value] = {}
        self.deadlines: dict[bytes, float] = {}
        self.used = 0
        self.expired = 0
        self._heap: list[tuple[float, bytes]] = []
        self._sooner = Event(name="a sooner deadline")
        self._waiting: dict[bytes, WaitQueue] = {}

    # Looking

    def find(self, key: bytes) -> Value | None:
        """The value of a key, or None."""
        if key in self.deadlines and self.deadlines[key] <= self.clock():
            self.expired += self.remove(key)
        return self.data.get(key)

    def string(self, key: bytes) -> bytes | None:
        """The value of a key, which is no collection.

        Raises:
            WrongTypeError: It is one.
        """
        value = self.find(key)
        if value is None or type(value) is bytes:
            return value
        raise WrongTypeError

    def collection(self, key: bytes, kind: type[C]) -> C | None:
        """The value of a key, which is a deque, a set or a dict, as `kind` says.

        Raises:
            WrongTypeError: It is something else.
        """
        value = self.find(key)
        if value is None or type(value) is kind:
            return value
        raise WrongTypeError

    # Changing

    def set(self, key: bytes, value: bytes) -> None:
        """Give a key a value in place of what it had; when it ends is not changed."""
        old = self.find(key)
        self.used += len(value) - (-len(key) - KEY if old is None else cost(old))
        self.data[key] = value

    def change(self, key: bytes, kind: type[C]) -> C:
        """The collection of a key, which is made if there is none. `changed` must follow."""
        value = self.collection(key, kind)
        if value is None:
            self.data[key] = value = kind()
            self.used += len(key) + KEY + EMPTY[kind]
        return value

    def changed(self, key: bytes, more: int) -> None:
        """The collection of a key has grown by `more` bytes; if it is empty, it ends."""
        self.used += more
        if not self.data[key]:
            self.remove(key)

    def remove(self, key: bytes) -> bool:
        """Remove a key; whether there was one."""
        value = self.data.pop(key, None)
        if value is None:
            return False
        self.expire(key, None)
        self.used -= len(key) + KEY + cost(value)
        return True

    def clear(self) -> None:
        """Remove all keys."""
        self.data.clear()
        self.deadlines.clear()
        self._heap.clear()
        self.used = 0

    # Lists

    def push(self, key: bytes, items: Sequence[bytes], left: bool) -> int:
        """Put items at one end of a list; how many there are, before others take some."""
        found = self.change(key, deque)
        (found.extendleft if left else found.extend)(items)
        length = len(found)
        self.changed(key, cost_of_items(items))
        if key in self._waiting:
            self._hand_over(key)
        return length

    def pop(self, key: bytes, left: bool) -> bytes | None:
        """Take an item off one end of a list; None if there is no list."""
        found = self.collection(key, deque)
        if found is None:
            return None
        item = found.popleft() if left else found.pop()
        self.changed(key, -len(item) - ITEM)
        return item

    def pop_when_there(self, key: bytes, left: bool) -> SystemCall[tuple[bytes, bytes]]:
        """A system call that waits for a list, and takes an item off it: the key and the item."""
        return Pop(self, key, left)

    def _hand_over(self, key: bytes) -> None:
        """Give the items of a list to those who wait for them."""
        waiting = self._waiting[key]
        while waiting.first is not None and key in self.data:
            call = waiting.popleft()
            call.wake((key, self.pop(key, call.left)))
        if waiting.first is None:
            del self._waiting[key]

    def wait_at(self, key: bytes, call: Pop) -> None:
        """Let a call wait for a list; for the call."""
        self._waiting.setdefault(key, WaitQueue()).append(call)

    def leave(self, key: bytes, call: Pop) -> None:
        """Let it wait no longer. Keys that nobody waits at take no memory."""
        waiting = self._waiting[key]
        waiting.remove(call)
        if waiting.first is None:
            del self._waiting[key]

    # Ending

    def expire(self, key: bytes, deadline: float | None) -> None:
        """Say when a key ends, on the kernel's clock; None: it does not."""
        if deadline is None:
            if self.deadlines.pop(key, None) is not None:
                self.used -= DEADLINE
            return
        self.used += 0 if key in self.deadlines else DEADLINE
        self.deadlines[key] = deadline
        heappush(self._heap, (deadline, key))
        if len(self._heap) > 2 * len(self.deadlines) + 100:
            self._heap = [(deadline, key) for key, deadline in self.deadlines.items()]
            heapify(self._heap)
        if self._heap[0][0] == deadline:
            self._sooner.set()

    def remove_expired(self) -> bool:
        """Remove keys whose time is over; False if there are more of them."""
        until, heap = self.clock(), self._heap
        for _ in range(AT_ONCE):
            if not heap or heap[0][0] > until:
                return True
            deadline, key = heappop(heap)
            if self.deadlines.get(key) == deadline:
                self.expired += self.remove(key)
        return False

    def expire_keys(self) -> Generator[Any, Any, None]:
        """A routine that removes keys as their time comes; it does not end."""
        while True:
            while not self.remove_expired():
                yield
            self._sooner.clear()
            if self._heap:
                yield select(self._sooner.wait(), sleep_until(self._heap[0][0]))
            else:
                yield self._sooner.wait()


class Pop(SystemCall[tuple[bytes, bytes]]):
    """Take an item off a list, as soon as there is one."""

    __slots__ = ("key", "left", "store")

    def __init__(self, store: Store, key: bytes, left: bool) -> None:
        super().__init__()
        self.store = store
        self.key = key
        self.left = left

    def attempt(self, task: Task[Any]) -> tuple[bytes, bytes] | Literal[Pending.PENDING]:
        if not isinstance(self.store.find(self.key), deque):
            return PENDING  # another kind of value is as good as none, to one who waits
        item = self.store.pop(self.key, self.left)
        assert item is not None
        return self.key, item

    def arm(self, waiter: Waiter) -> None:
        self.store.wait_at(self.key, self)

    def disarm(self, waiter: Waiter) -> None:
        self.store.leave(self.key, self)

    def describe(self) -> Wait:
        return Wait("wait for items of", repr(self.key))


def cost(value: Value) -> int:
    """About how many bytes a value takes, besides its key."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return EMPTY[dict] + cost_of_items(value) + cost_of_items(value.values())
    return EMPTY[type(value)] + cost_of_items(value)


def cost_of_items(items: Collection[bytes]) -> int:
    """About how many bytes so many items of a collection take."""
    return sum(map(len, items)) + ITEM * len(items)
