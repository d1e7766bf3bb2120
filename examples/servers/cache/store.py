"""The data of a cache: values by keys, which may have a time to end.

A value is `bytes`, a deque (a list), a set, or a dict (a hash). No collection is
empty: one that becomes so is removed.

Expired keys are removed in two ways: whoever looks for one finds nothing, at once; and
a task, `expire_keys`, removes those that nobody looks for when their time comes, so
that their memory is free. Its heap has an entry for each deadline that was ever set. Those
that no longer hold are passed over, and thrown out when they are most of the heap.

What is large is not freed at once, which would take long, but by `Garbage`, bit by bit.

`pop_when_there` is a system call of our own: a key is a place where tasks wait, and whoever
pushes hands its items to them, the longest waiting first. As with any call, `select`
takes several of them, and exactly one takes effect: BLPOP is no more than that.

Invariants: `used` is the cost of all there is; every key in `deadlines` is in `data`;
nobody waits at a key that has a list.

Read next: commands/lists.py for BLPOP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from examples.servers.cache.garbage import AT_ONCE, Garbage
from examples.servers.turns import others_first
from microthreads import Event, SystemCall, Task, now, select, sleep_until
from microthreads.kernel import PENDING, Pending, Wait, Waiter, WaitQueue

Value: TypeAlias = "bytes | deque[bytes] | set[bytes] | dict[bytes, bytes]"
C = TypeVar("C", deque[bytes], set[bytes], dict[bytes, bytes])

LONGEST = 8192  # bytes of a key: how long a pattern tries grows with it (see globs.py)

# What things take in bytes, besides their own, as it was measured with 100,000 of each.
KEY = 150
DEADLINE = 140
ITEM = 60
EMPTY = {deque: 700, set: 200, dict: 200}


class WrongTypeError(Exception):
    """The key has a value of another kind."""


class KeyTooLongError(Exception):
    """A key has more bytes than is allowed."""


class Watcher(Protocol):
    """Who is told that a key has changed.

    Attributes:
        spoiled: Whether one has.
    """

    spoiled: bool


class Store:
    """Keys, their values, and when they end.

    Args:
        clock: What tells the time; that of the kernel, unless a test has its own.

    Attributes:
        data: The values. Change them by the methods only.
        deadlines: When keys end, if they do.
        used: About how many bytes all this takes.
        expired: How many keys have ended by themselves.
        garbage: What is no longer there, and not free yet.
    """

    def __init__(self, clock: Callable[[], float] = now) -> None:
        self.clock = clock
        self.data: dict[bytes, Value] = {}
        self.deadlines: dict[bytes, float] = {}
        self.used = 0
        self.expired = 0
        self.garbage = Garbage()
        self._costs: dict[bytes, int] = {}  # of the collections
        self._heap: list[tuple[float, bytes]] = []
        self._sooner = Event(name="a sooner deadline")
        self._waiting: dict[bytes, WaitQueue] = {}
        self._watched: dict[bytes, set[Watcher]] = {}

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

    def keys(self) -> list[bytes]:
        """All keys there are now."""
        while not self.remove_expired():
            pass
        return list(self.data)

    # Changing

    def set(self, key: bytes, value: bytes) -> None:
        """Give a key a value in place of what it had; when it ends is not changed.

        Raises:
            KeyTooLongError: The key has more than `LONGEST` bytes.
        """
        old = self.find(key)
        if old is None:
            self._begin(key)
        else:
            self._drop(key, old)
        self.data[key] = value
        self.used += len(value)
        if key in self._watched:
            self._spoil(key)

    def change(self, key: bytes, kind: type[C]) -> C:
        """The collection of a key, which is made if there is none. `changed` must follow.

        Raises:
            WrongTypeError, KeyTooLongError: Nothing has changed.
        """
        value = self.collection(key, kind)
        if value is None:
            self._begin(key)
            self.data[key] = value = kind()
            self._costs[key] = EMPTY[kind]
            self.used += EMPTY[kind]
        return value

    def changed(self, key: bytes, more: int) -> None:
        """The collection of a key has grown by `more` bytes; if it is empty, it ends."""
        self.used += more
        self._costs[key] += more
        if not self.data[key]:
            self.remove(key)
        elif key in self._watched:
            self._spoil(key)

    def remove(self, key: bytes) -> bool:
        """Remove a key; whether there was one."""
        value = self.data.pop(key, None)
        if value is None:
            return False
        self.expire(key, None)
        self.used -= len(key) + KEY
        self._drop(key, value)
        if key in self._watched:
            self._spoil(key)
        return True

    def rename(self, key: bytes, to: bytes) -> None:
        """Give the value of a key, which is there, and when it ends to another key."""
        if key == to:
            return
        check(to)
        deadline, value = self.deadlines.get(key), self.data[key]
        self.remove(to)
        self.expire(key, None)
        del self.data[key]
        self.data[to] = value
        self.used += len(to) - len(key)
        if key in self._costs:
            self._costs[to] = self._costs.pop(key)
        self.expire(to, deadline)
        for each in (key, to):
            self._spoil(each)
        if to in self._waiting and isinstance(value, deque):
            self._hand_over(to)

    def clear(self) -> None:
        """Remove all keys."""
        for key in [key for key in self._watched if key in self.data]:
            self._spoil(key)
        for old in (self.data, self.deadlines, self._costs, self._heap):
            self.garbage.add(old)
        self.data, self.deadlines, self._costs, self._heap = {}, {}, {}, []
        self.used = 0

    def _begin(self, key: bytes) -> None:
        """Count a key that is new."""
        check(key)
        self.used += len(key) + KEY

    def _drop(self, key: bytes, value: Value) -> None:
        """Count a value no more, which nothing has any more."""
        if isinstance(value, bytes):
            self.used -= len(value)
        else:
            self.used -= self._costs.pop(key)
            self.garbage.add(value)

    # Watching

    def watch(self, key: bytes, who: Watcher) -> None:
        """Set `spoiled` of `who` when something is done to a key; until `unwatch`."""
        self.find(key)  # what has ended already, ends before this
        self._watched.setdefault(key, set()).add(who)

    def unwatch(self, key: bytes, who: Watcher) -> None:
        """No longer."""
        self._watched[key].discard(who)
        if not self._watched[key]:
            del self._watched[key]

    def _spoil(self, key: bytes) -> None:
        for who in self._watched.get(key, ()):
            who.spoiled = True

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
                self._spoil(key)
            return
        self.used += 0 if key in self.deadlines else DEADLINE
        self.deadlines[key] = deadline
        heappush(self._heap, (deadline, key))
        if len(self._heap) > 2 * len(self.deadlines) + 100:
            self._heap = [(deadline, key) for key, deadline in self.deadlines.items()]
            heapify(self._heap)
        if self._heap[0][0] == deadline:
            self._sooner.set()
        self._spoil(key)

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
                yield others_first()
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


def check(key: bytes) -> None:
    """Refuse a name for a new key that is too long."""
    if len(key) > LONGEST:
        raise KeyTooLongError


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
