"""Models of channels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from microthreads import ClosedError

from .models import Blocked, Model, tasks_of


class ChannelsModel(Model):
    """Two channels, `a` and `b`, of which most programs use the first."""

    capacity = 0

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.channels = [
            SimpleNamespace(values=[], sending=[], receiving=[], closed=False) for _ in "ab"
        ]
        self.queues = tuple(
            queue for channel in self.channels for queue in (channel.sending, channel.receiving)
        )

    def send(self, task: int, item: int, at: int = 0) -> Any:
        channel = self.channels[at]
        if channel.closed:
            return ClosedError
        if channel.receiving:
            self.answer(channel.receiving[0], item)
        elif len(channel.values) < self.capacity:
            channel.values.append(item)
        else:
            return self.wait(channel.sending, task, item)
        return None

    def try_send(self, task: int, item: int) -> Any:
        outcome = self.at_once(task, self.send(task, item), False)
        return True if outcome is None else outcome

    def send_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.send(task, item), TimeoutError)

    def recv(self, task: int, item: int, at: int = 0) -> Any:
        channel = self.channels[at]
        sender = channel.sending[0] if channel.sending else None
        if sender is not None:
            channel.values.append(sender.item)
            self.answer(sender, None)
        if channel.values:
            return channel.values.pop(0)
        return ClosedError if channel.closed else self.wait(channel.receiving, task)

    def try_recv(self, task: int, item: int) -> Any:
        return self.at_once(task, self.recv(task, item), None)

    def recv_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.recv(task, item), TimeoutError)

    def close(self, task: int, item: int) -> None:
        channel = self.channels[0]
        channel.closed = True
        for entry in [*channel.sending, *channel.receiving]:
            self.answer(entry, ClosedError)

    # On both channels

    def send_b(self, task: int, item: int) -> Any:
        return self.send(task, item, 1)

    def recv_b(self, task: int, item: int) -> Any:
        return self.recv(task, item, 1)

    def sleep(self, task: int, item: int) -> Any:
        return self.limited(task, Blocked, None)

    def send_or_recv(self, task: int, item: int) -> Any:
        return self.select(task, (self.send, item), (self.recv_b, 0))

    def recv_or_send(self, task: int, item: int) -> Any:
        return self.select(task, (self.recv, 0), (self.send_b, item))

    def recv_or_sleep(self, task: int, item: int) -> Any:
        return self.select(task, (self.recv, 0), (self.recv_b, 0), (self.sleep, 0))

    def state(self) -> Any:
        return [
            (list(c.values), c.closed, tasks_of(c.sending), tasks_of(c.receiving))
            for c in self.channels
        ]


class BufferedChannelsModel(ChannelsModel):
    capacity = 1
