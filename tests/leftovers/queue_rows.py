"""The rows of channels and queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microthreads import Channel, LifoQueue, PriorityQueue, Queue

from .held import Watch
from .row import Row, Steps, World, start


def with_channel(capacity: int, *, full: bool = False) -> Callable[[World, Watch], None]:
    def setup(world: World, hold: Watch) -> None:
        world.channel = Channel(capacity)
        if full:
            world.channel.try_send(object())

    return setup


def send(world: World, hold: Watch) -> Any:
    return world.channel.send(hold("value sent"))


def recv(world: World, hold: Watch) -> Any:
    return world.channel.recv()


def take(world: World, hold: Watch) -> None:
    """Receive all there is."""
    while world.channel.try_recv() is not None:
        pass


def taker(world: World, hold: Watch) -> Any:
    def taking() -> Steps:
        yield world.channel.recv()

    return start(taking())


def give(world: World, hold: Watch) -> None:
    world.channel.try_send(hold("value received"))


def giver(world: World, hold: Watch) -> Any:
    def giving() -> Steps:
        yield world.channel.send(hold("value received"))

    return start(giving())


def take_later(world: World, hold: Watch) -> Steps:
    """What was sent into the buffer is received in the end."""
    yield
    take(world, hold)


def close(world: World, hold: Watch) -> None:
    world.channel.close()


def empty(world: World) -> None:
    """What nobody has received is the program's own."""
    world.channel.buffer.clear()


# ---- queues


def with_queue(kind: Any, *, full: bool = False) -> Callable[[World, Watch], None]:
    def setup(world: World, hold: Watch) -> None:
        world.queue = kind(1)
        if full:
            world.queue.put_nowait((0, None))

    return setup


def put(world: World, hold: Watch) -> Any:
    return world.queue.put((1, hold("item put")))


def put_within(world: World, hold: Watch) -> Any:
    return world.queue.put((1, hold("item put")), timeout=world.seconds)


def get(world: World, hold: Watch) -> Any:
    return world.queue.get()


def get_within(world: World, hold: Watch) -> Any:
    return world.queue.get(timeout=world.seconds)


def queue_join(world: World, hold: Watch) -> Any:
    return world.queue.join()


def put_one(world: World, hold: Watch) -> None:
    world.queue.put_nowait((1, hold("item got")))


def get_one(world: World, hold: Watch) -> None:
    world.queue.get_nowait()


def drain(world: World) -> None:
    """What nobody has taken is the program's own."""
    while not world.queue.empty():
        world.queue.get_nowait()


def done(world: World, hold: Watch) -> None:
    world.queue.task_done()


def shut_down(world: World, hold: Watch) -> None:
    world.queue.shutdown()


def put_row(name: str, kind: Any, call: Any, **options: Any) -> Row:
    setup = with_queue(kind, full=True)
    ways: dict[str, Any] = {
        "ready": get_one,
        "go": get_one,
        "fail": shut_down,
        "refused": shut_down,
    }
    return Row(name, call, setup=setup, drop=drain, **{**ways, **options})


def get_row(name: str, kind: Any, call: Any, **options: Any) -> Row:
    ways: dict[str, Any] = {
        "ready": put_one,
        "go": put_one,
        "fail": shut_down,
        "refused": shut_down,
    }
    return Row(name, call, setup=with_queue(kind), **{**ways, **options})


def late(name: str, make: Any, kind: Any, call: Any) -> Row:
    """A call whose own time limit ends it."""
    row: Row = make(name, kind, call, ready=None, go=None, fail=None, refused=None, soon=("error",))
    return row


QUEUE_ROWS = (
    Row(
        "Channel.send, capacity 0",
        send,
        setup=with_channel(0),
        ready=taker,
        go=take,
        refused=close,
        fail=close,
    ),
    Row(
        "Channel.send, capacity 1",
        send,
        setup=with_channel(1, full=True),
        ready=take_later,
        go=take,
        refused=close,
        fail=close,
        drop=empty,
    ),
    Row(
        "Channel.recv, capacity 0",
        recv,
        setup=with_channel(0),
        ready=giver,
        go=give,
        refused=close,
        fail=close,
    ),
    Row(
        "Channel.recv, capacity 1",
        recv,
        setup=with_channel(1),
        ready=give,
        go=give,
        refused=close,
        fail=close,
    ),
    put_row("Queue.put", Queue, put),
    put_row("Queue.put, timeout=", Queue, put_within),
    late("Queue.put, its timeout", put_row, Queue, put_within),
    get_row("Queue.get", Queue, get),
    get_row("Queue.get, timeout=", Queue, get_within),
    late("Queue.get, its timeout", get_row, Queue, get_within),
    put_row("Queue.join", Queue, queue_join, ready=done, go=done, refused=None, fail=None),
    put_row("PriorityQueue.put", PriorityQueue, put),
    put_row("PriorityQueue.put, timeout=", PriorityQueue, put_within),
    get_row("PriorityQueue.get", PriorityQueue, get),
    get_row("PriorityQueue.get, timeout=", PriorityQueue, get_within),
    get_row("LifoQueue.get", LifoQueue, get),
)
