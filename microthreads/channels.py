"""Channels: values handed from task to task.

A channel of capacity 0 is a rendezvous: a send succeeds together with a recv.
One of capacity n holds up to n values that were sent and not yet received.

Both calls try their cases in this order:

    send   closed · a waiting receiver gets the value · room in the buffer · wait
    recv   the buffer's first, whose place a waiting sender's value takes ·
           a waiting sender's value · closed · wait

Invariants: receivers wait only while the buffer is empty and no sender waits;
senders wait only while the buffer is full; nobody waits on a closed channel.
Values are received in the order in which they were sent, and waiters are
served first come, first served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, overload

from microthreads.errors import ClosedError, text_of
from microthreads.kernel import PENDING, Failure, Pending, SystemCall, Task, Wait, Waiter, WaitQueue
from microthreads.kernel.syscalls import task_of

T = TypeVar("T")
D = TypeVar("D")


class Channel(Generic[T]):
    """A queue between tasks, with room for `capacity` values.

    ``async for value in channel`` receives until the channel is closed, and ``with
    channel:`` closes it at the end of the block.

    Args:
        capacity: How many values may be sent ahead of their receivers; at 0 a
            send waits for its receiver.
        name: What reports call the channel.

    Raises:
        ValueError: `capacity` is negative.
        TypeError: It is not an integer.
    """

    __slots__ = ("__weakref__", "buffer", "capacity", "closed", "name", "receivers", "senders")

    def __init__(self, capacity: int = 0, name: str | None = None) -> None:
        if not isinstance(capacity, int):
            raise TypeError(f"Channel() needs an integer capacity, got {capacity!r}")
        if capacity < 0:
            raise ValueError(f"Channel() needs a capacity >= 0, got {capacity}")
        self.capacity = capacity
        self.name = None if name is None else str(name)
        self.closed = False
        self.buffer: deque[T] = deque()
        self.senders = WaitQueue()
        self.receivers = WaitQueue()

    def send(self, value: T) -> SystemCall[None]:
        """A system call that sends `value`, waiting for a receiver or for room.

        Raises:
            ClosedError: At the yield: the channel is closed; nothing was sent.
        """
        return Send(self, value)

    def recv(self) -> SystemCall[T]:
        """A system call that receives the next value, waiting for one.

        Raises:
            ClosedError: At the yield: the channel is closed, and empty.
        """
        return Recv(self)

    def try_send(self, value: T) -> bool:
        """Send `value` if that needs no waiting. A plain call; says whether it did.

        Raises:
            ClosedError: The channel is closed.
        """
        if self.closed:
            raise ClosedError(f"cannot send on {self}: it is closed")
        while self.receivers.first is not None:
            if self.receivers.wake_first(value):
                return True
        if len(self.buffer) < self.capacity:
            self.buffer.append(value)
            return True
        return False

    @overload
    def try_recv(self) -> T | None: ...
    @overload
    def try_recv(self, default: D) -> T | D: ...
    def try_recv(self, default: Any = None) -> Any:
        """The next value if there is one, else `default`. A plain call.

        Raises:
            ClosedError: The channel is closed, and empty.
        """
        buffer = self.buffer
        while (sender := self.senders.first) is not None:
            if self.senders.wake_first():
                buffer.append(sender.value)  # at capacity 0, just on its way through
                return buffer.popleft()
        if buffer:
            return buffer.popleft()
        if self.closed:
            raise ClosedError(f"cannot recv on {self}: it is closed, and empty")
        return default

    def close(self) -> None:
        """Let nothing more be sent. A plain call; closing twice does no harm.

        What was sent can still be received. Tasks that wait to send or to
        receive get `ClosedError`.
        """
        self.senders.check_room()
        self.receivers.check_room()
        self.closed = True
        for queue in (self.senders, self.receivers):
            while (call := queue.first) is not None:
                text = f"{text_of(self)} was closed while {task_of(call)} waited to {call.verb}"
                queue.wake_first(Failure(ClosedError(text)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[T]:
        return _Values(self)

    if not TYPE_CHECKING:  # which refuses these by itself

        def __iter__(self) -> NoReturn:
            raise TypeError(
                f"a plain `for` (or unpacking) cannot wait for {self}: write `async for` in an "
                "async def, or `while True: value = yield channel.recv()`, which ClosedError ends"
            )

        def __aenter__(self) -> NoReturn:
            raise TypeError(f"`async with` is not needed for {self}: a plain `with` closes it")

        __aexit__ = None  # Python looks for it first

    def __len__(self) -> int:
        """How many values the buffer holds."""
        return len(self.buffer)

    def __bool__(self) -> bool:
        return True  # a channel is not false for being empty

    def __str__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        closed = ", closed" if self.closed else ""
        return f"Channel{name} ({len(self.buffer)}/{self.capacity}{closed})"

    def __repr__(self) -> str:
        return f"<{self}>"


class Send(SystemCall[None]):
    """Send a value on a channel."""

    __slots__ = ("channel", "value")
    verb = "send"

    def __init__(self, channel: Channel[T], value: T) -> None:
        self.waiter = None
        self.channel = channel
        self.value: Any = value

    def attempt(self, task: Task[Any]) -> Literal[Pending.PENDING] | None:
        return None if self.channel.try_send(self.value) else PENDING

    def arm(self, waiter: Waiter) -> None:
        channel = self.channel
        channel.senders.append(self)
        if channel.closed or len(channel.buffer) < channel.capacity:
            self.retry()  # a finalizer came in between

    def describe(self) -> Wait:
        return Wait("send on", self.channel)


class Recv(SystemCall[T]):
    """Receive a value from a channel."""

    __slots__ = ("channel",)
    verb = "receive"

    def __init__(self, channel: Channel[T]) -> None:
        self.waiter = None
        self.channel = channel

    def attempt(self, task: Task[Any]) -> T | Literal[Pending.PENDING]:
        return self.channel.try_recv(PENDING)

    def arm(self, waiter: Waiter) -> None:
        channel = self.channel
        channel.receivers.append(self)
        if channel.buffer or channel.closed:
            self.retry()  # a finalizer came in between

    def describe(self) -> Wait:
        return Wait("recv on", self.channel)


class _Values(AsyncIterator[T]):
    """The values of a channel, until it is closed."""

    def __init__(self, channel: Channel[T]) -> None:
        self._channel = channel

    async def __anext__(self) -> T:
        try:
            return await self._channel.recv()
        except ClosedError:
            raise StopAsyncIteration from None
