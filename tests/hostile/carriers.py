"""Scenes of what carries values: channels and queues."""

from __future__ import annotations

from queue import Empty
from typing import Any

from microthreads import (
    Channel,
    ClosedError,
    LifoQueue,
    PriorityQueue,
    Queue,
)

from .scene import Scene


class TrySend(Scene):
    single = True
    capacity = 0

    def begin(self) -> None:
        self.channel: Channel[int] = Channel(self.capacity)

    def call(self, seconds: float | None) -> Any:
        return self.channel.recv()

    def act(self, number: int) -> bool:
        return self.channel.try_send(number)

    def right(self) -> bool:
        return sorted(self.outcomes, key=str) == list(range(self.count)) and not self.channel.buffer


class TrySendBuffer(TrySend):
    capacity = 1


class TryRecv(Scene):
    single = True
    capacity = 0

    def begin(self) -> None:
        self.channel: Channel[int] = Channel(self.capacity)
        self.got: list[int] = []
        self.sent = 0
        for number in range(self.capacity):
            self.channel.try_send(-number - 1)

    def call(self, seconds: float | None) -> Any:
        self.sent += 1
        return self.channel.send(self.sent)

    def act(self, number: int) -> bool:
        value = self.channel.try_recv(None)
        if value is None:
            return False
        self.got.append(value)
        return True

    def right(self) -> bool:
        while self.channel.buffer:
            self.act(0)
        first = list(range(-self.capacity, 0))
        wanted = sorted(first + list(range(1, self.count + 1)))
        return sorted(self.got) == wanted and self.outcomes == [None] * self.count


class TryRecvBuffer(TryRecv):
    capacity = 2


class CloseReceivers(Scene):
    outcome = ClosedError

    def begin(self) -> None:
        self.channel: Channel[int] = Channel()

    def call(self, seconds: float | None) -> Any:
        return self.channel.recv()

    def act(self, number: int) -> bool:
        self.channel.close()
        return True


class CloseSenders(CloseReceivers):
    def call(self, seconds: float | None) -> Any:
        return self.channel.send(1)


class PutNowait(Scene):
    single = True
    kind: Any = Queue

    def begin(self) -> None:
        self.queue: Queue[int] = self.kind()

    def call(self, seconds: float | None) -> Any:
        return self.queue.get(timeout=seconds)

    def act(self, number: int) -> bool:
        self.queue.put_nowait(number)
        return True

    def right(self) -> bool:
        got = sorted(self.outcomes, key=str)
        unfinished = self.queue.unfinished_tasks
        return got == list(range(self.count)) and unfinished == self.count and self.queue.empty()


class PutNowaitPriority(PutNowait):
    kind = PriorityQueue


class GetNowait(Scene):
    single = True
    kind: Any = Queue

    def begin(self) -> None:
        self.queue: Queue[int] = self.kind(1)
        self.queue.put_nowait(0)
        self.got: list[int] = []
        self.put = 0

    def call(self, seconds: float | None) -> Any:
        self.put += 1
        return self.queue.put(self.put, timeout=seconds)

    def act(self, number: int) -> bool:
        try:
            self.got.append(self.queue.get_nowait())
        except Empty:
            return False
        return True

    def right(self) -> bool:
        while self.act(0):
            pass
        unfinished = self.queue.unfinished_tasks
        whole = sorted(self.got) == list(range(self.count + 1)) and unfinished == self.count + 1
        return whole and self.outcomes == [None] * self.count


class GetNowaitLifo(GetNowait):
    kind = LifoQueue


class GetNowaitPriority(GetNowait):
    kind = PriorityQueue


class ShutdownGetters(PutNowait):
    single = False

    def act(self, number: int) -> bool:
        self.queue.shutdown()
        return True

    def right(self) -> bool:
        return [getattr(each, "__name__", each) for each in self.outcomes] == (
            ["ShutDown"] * self.count
        )


class ShutdownPutters(ShutdownGetters):
    def begin(self) -> None:
        self.queue = Queue(1)
        self.queue.put_nowait(1)

    def call(self, seconds: float | None) -> Any:
        return self.queue.put(2, timeout=seconds)

    def act(self, number: int) -> bool:
        self.queue.shutdown(immediate=True)
        return True


class ShutdownJoiners(ShutdownPutters):
    def call(self, seconds: float | None) -> Any:
        return self.queue.join()

    def right(self) -> bool:
        return self.outcomes == [None] * self.count


class TaskDone(ShutdownJoiners):
    def act(self, number: int) -> bool:
        if self.queue.unfinished_tasks:
            self.queue.task_done()
        return True
