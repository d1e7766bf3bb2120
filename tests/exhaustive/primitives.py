"""The primitives that are checked: for each its model, its objects, and its operations."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

from microthreads import (
    Barrier,
    BoundedSemaphore,
    Channel,
    Condition,
    Event,
    LifoQueue,
    Lock,
    PriorityQueue,
    Queue,
    RLock,
    Semaphore,
    select,
    sleep,
    timeout,
)
from microthreads.sync.waiting import Guard

from . import channel_models as channels
from . import condition_models as conditions
from . import queue_models as queues
from . import sync_models as sync
from .models import SECONDS, Model
from .programs import ALWAYS, Atom, Kind, Operation, call, plain
from .trials import Primitive


def things(**makers: Callable[[], Any]) -> Callable[[], SimpleNamespace]:
    """What makes a namespace of fresh objects."""
    return lambda: SimpleNamespace(**{name: make() for name, make in makers.items()})


# What can be seen of the library's objects


def waiters(queue: Any) -> list[int]:
    """Which tasks stand in a wait queue of the library."""
    return [call.task.id - 2 for call in queue]


def of_lock(lock: Lock) -> Any:
    if lock.broken_by is not None:
        return "broken", lock.depth, waiters(lock.waiters)
    owned = lock.owner is not None
    return lock.owner.id - 2 if owned else None, lock.depth if owned else 0, waiters(lock.waiters)


def of_semaphore(semaphore: Semaphore) -> Any:
    return semaphore.free, waiters(semaphore.waiters)


def of_event(event: Event) -> Any:
    return event.is_set(), waiters(event.waiters)


def of_barrier(barrier: Barrier) -> Any:
    return barrier.broken, barrier.n_waiting, waiters(barrier.waiters)


def of_condition(condition: Condition) -> Any:
    return *of_lock(condition.lock), waiters(condition.waiters)


def of_queue(queue: Any) -> Any:
    items = list(queue.queue)
    if isinstance(queue, PriorityQueue):
        items.sort()  # how the heap lies is its own affair
    waiting = [waiters(queue.getters), waiters(queue.putters), waiters(queue.joiners)]
    return items, queue.unfinished_tasks, queue.is_shutdown, waiting


def of_channel(channel: Any) -> Any:
    waiting = waiters(channel.senders), waiters(channel.receivers)
    return list(channel.buffer), channel.closed, *waiting


# Operations. A name that comes twice is the same operation on another kind of object.

ACQUIRING: dict[str, Operation] = {
    "acquire": (call("acquire", lambda t, _: t.lock.acquire()),),
    "try": (call("try_acquire", lambda t, _: t.lock.acquire(False)),),
    "timed": (call("acquire_in_time", lambda t, _: t.lock.acquire(timeout=SECONDS)),),
    "release": (plain("release", lambda t, _: t.lock.release()),),
    "release 2": (plain("release_two", lambda t, _: t.lock.release(2)),),
}

AT_EVENTS: dict[str, Operation] = {
    "wait": (call("wait_event", lambda t, _: t.event.wait()),),
    "timed": (call("wait_in_time", lambda t, _: t.event.wait(SECONDS)),),
    "try": (call("wait_not", lambda t, _: t.event.wait(0)),),
    "set": (plain("set", lambda t, _: t.event.set()),),
    "clear": (plain("clear", lambda t, _: t.event.clear()),),
}

AT_BARRIERS: dict[str, Operation] = {
    "wait": (call("wait_barrier", lambda t, _: t.barrier.wait()),),
    "timed": (call("wait_in_time", lambda t, _: t.barrier.wait(SECONDS)),),
    "try": (call("wait_not", lambda t, _: t.barrier.wait(0)),),
    "reset": (plain("reset", lambda t, _: t.barrier.reset()),),
    "abort": (plain("abort", lambda t, _: t.barrier.abort()),),
}

ENTER = call("acquire", lambda t, _: t.condition.acquire())
LEAVE = plain("leave", lambda t, _: Guard(t.condition.lock).__exit__(None, None, None), closes=True)
WAIT = call("wait_condition", lambda t, _: t.condition.wait())
NOTIFY = plain("notify", lambda t, _: t.condition.notify())
NOTIFY_ALL = plain("notify_all", lambda t, _: t.condition.notify_all())


def within(*atoms: Atom) -> Operation:
    """What stands in a block ``with (yield condition.acquire()):``."""
    return (ENTER, *atoms, LEAVE)


def put_item(things: Any) -> None:
    things.items += 1


def take_item(things: Any) -> None:
    things.items -= things.items > 0


AT_CONDITIONS: dict[str, Operation] = {
    "wait": within(WAIT),
    "timed": within(call("wait_in_time", lambda t, _: t.condition.wait(SECONDS))),
    "notify": within(NOTIFY),
    "notify_all": within(NOTIFY_ALL),
    # One that is notified while another has the lock, and cancelled then
    "notify+cancel": within(NOTIFY, *ALWAYS["cancel"]),
}

AT_CONDITIONS_FOR: dict[str, Operation] = {
    "take": within(
        call("wait_for", lambda t, _: t.condition.wait_for(lambda: t.items)),
        plain("take_item", lambda t, _: take_item(t)),
    ),
    "timed": within(
        call("wait_for_in_time", lambda t, _: t.condition.wait_for(lambda: t.items, SECONDS)),
        plain("take_item", lambda t, _: take_item(t)),
    ),
    "put": within(plain("put_item", lambda t, _: put_item(t)), NOTIFY),
    "put+cancel": within(plain("put_item", lambda t, _: put_item(t)), NOTIFY, *ALWAYS["cancel"]),
}

AT_BARE_CONDITIONS: dict[str, Operation] = {
    "acquire": (ENTER,),
    "release": (plain("release", lambda t, _: t.condition.release()),),
    "wait": (WAIT,),
    "notify": (NOTIFY,),
    "notify_all": (NOTIFY_ALL,),
}

QUEUEING: dict[str, Operation] = {
    "put": (call("put", lambda t, item: t.queue.put(item)),),
    "timed put": (call("put_in_time", lambda t, item: t.queue.put(item, timeout=SECONDS)),),
    "put_nowait": (plain("put_nowait", lambda t, item: t.queue.put_nowait(item)),),
    "put 1": (call("put_one", lambda t, _: t.queue.put(1)),),
    "put 2": (call("put_two", lambda t, _: t.queue.put(2)),),
    "get": (call("get", lambda t, _: t.queue.get()),),
    "timed get": (call("get_in_time", lambda t, _: t.queue.get(timeout=SECONDS)),),
    "get_nowait": (call("get_nowait", lambda t, _: t.queue.get(block=False)),),
    "task_done": (plain("task_done", lambda t, _: t.queue.task_done()),),
    "join": (call("join", lambda t, _: t.queue.join()),),
    "shutdown": (plain("shutdown", lambda t, _: t.queue.shutdown()),),
    "shutdown now": (plain("shutdown_now", lambda t, _: t.queue.shutdown(immediate=True)),),
}


def in_time(call: Any) -> Generator[Any, Any, Any]:
    with timeout(SECONDS):
        return (yield call)


SENDING: dict[str, Operation] = {
    "send": (call("send", lambda t, item: t.a.send(item)),),
    "recv": (call("recv", lambda t, _: t.a.recv()),),
    "try_send": (plain("try_send", lambda t, item: t.a.try_send(item)),),
    "try_recv": (plain("try_recv", lambda t, _: t.a.try_recv()),),
    "close": (plain("close", lambda t, _: t.a.close()),),
    "timed send": (Atom(Kind.ROUTINE, "send_in_time", lambda t, item: in_time(t.a.send(item))),),
    "timed recv": (Atom(Kind.ROUTINE, "recv_in_time", lambda t, _: in_time(t.a.recv())),),
    "recv b": (call("recv_b", lambda t, _: t.b.recv()),),
}

OVER_CHANNELS: dict[str, Operation] = {
    **SENDING,
    "select 1": (call("send_or_recv", lambda t, item: select(t.a.send(item), t.b.recv())),),
    "select 2": (call("recv_or_send", lambda t, item: select(t.a.recv(), t.b.send(item))),),
    "select 3": (
        call("recv_or_sleep", lambda t, _: select(t.a.recv(), t.b.recv(), sleep(SECONDS))),
    ),
}

OVER_LOCK_AND_QUEUE: dict[str, Operation] = {
    **ACQUIRING,
    **QUEUEING,
    "select 1": (call("acquire_or_get", lambda t, _: select(t.lock.acquire(), t.queue.get())),),
    "select 2": (call("get_or_acquire", lambda t, _: select(t.queue.get(), t.lock.acquire())),),
}

OVER_WAITS: dict[str, Operation] = {
    **AT_CONDITIONS,
    **AT_EVENTS,
    "select 1": within(
        call("wait_either", lambda t, _: select(t.condition.wait(), t.event.wait()))
    ),
    "select 2": within(
        call("wait_either_turned", lambda t, _: select(t.event.wait(), t.condition.wait()))
    ),
}


# The table


def a_lock(
    model: type[Model], make: Callable[[], Any], state: Callable[[Any], Any], two: str, more: str
) -> Primitive:
    return Primitive(
        make.__name__, model, things(lock=make), lambda t: state(t.lock), ACQUIRING, two, more
    )


def a_barrier(model: type[sync.BarrierModel], two: str, more: str, tasks: Any) -> Primitive:
    return Primitive(
        f"Barrier({model.parties})",
        model,
        things(barrier=lambda: Barrier(model.parties)),
        lambda t: of_barrier(t.barrier),
        AT_BARRIERS,
        two,
        more,
        tasks,
    )


def a_condition(name: str, operations: dict[str, Operation], two: str, more: str) -> Primitive:
    return Primitive(
        name,
        conditions.ConditionModel,
        things(condition=Condition, items=int),
        lambda t: of_condition(t.condition),
        operations,
        two,
        more,
    )


def a_queue(name: str, model: type[queues.QueueModel], make: Any, two: str, more: str) -> Primitive:
    return Primitive(
        name,
        model,
        things(queue=lambda: make(model.maxsize)),
        lambda t: of_queue(t.queue),
        QUEUEING,
        two,
        more,
    )


def two_channels(name: str, model: type[channels.ChannelsModel], two: str, more: str) -> Primitive:
    return Primitive(
        name,
        model,
        things(a=lambda: Channel(model.capacity), b=lambda: Channel(model.capacity)),
        lambda t: [of_channel(t.a), of_channel(t.b)],
        OVER_CHANNELS,
        two,
        more,
    )


ALL = [
    a_lock(sync.LockModel, Lock, of_lock, "acquire, try, release, cancel, yield", "timed"),
    a_lock(sync.RLockModel, RLock, of_lock, "acquire, timed, release, cancel, yield", "try"),
    a_lock(
        sync.SemaphoreModel,
        Semaphore,
        of_semaphore,
        "acquire, try, release 2, cancel, yield",
        "timed, release",
    ),
    a_lock(
        sync.BoundedSemaphoreModel,
        BoundedSemaphore,
        of_semaphore,
        "acquire, timed, release, cancel, yield",
        "try",
    ),
    Primitive(
        "Event",
        sync.EventModel,
        things(event=Event),
        lambda t: of_event(t.event),
        AT_EVENTS,
        "wait, timed, set, clear, cancel, yield",
        "try",
    ),
    a_barrier(sync.BarrierModel, "wait, timed, reset, abort, cancel", "try, yield", (2, 3)),
    a_barrier(sync.BarrierOfThreeModel, "wait, timed, reset, cancel", "", (3,)),
    a_condition(
        "Condition",
        AT_CONDITIONS,
        "wait, timed, notify, notify+cancel, cancel",
        "notify_all, yield",
    ),
    a_condition(
        "Condition.wait_for", AT_CONDITIONS_FOR, "take, timed, put, put+cancel, cancel", "yield"
    ),
    a_condition(
        "Condition (no with)",
        AT_BARE_CONDITIONS,
        "acquire, release, wait, notify, cancel",
        "notify_all, yield",
    ),
    a_queue("Queue", queues.QueueModel, Queue, "put, timed put, get, timed get, cancel", "yield"),
    a_queue(
        "Queue (nowait)",
        queues.QueueModel,
        Queue,
        "put, put_nowait, get_nowait, cancel, yield",
        "get",
    ),
    a_queue("Queue.join", queues.QueueModel, Queue, "put, get, task_done, join, cancel", "yield"),
    a_queue(
        "Queue.shutdown",
        queues.QueueModel,
        Queue,
        "put, get, shutdown, shutdown now, cancel",
        "timed put, timed get, join, yield",
    ),
    a_queue(
        "LifoQueue",
        queues.LifoQueueModel,
        LifoQueue,
        "put, put_nowait, get, timed get, cancel",
        "yield",
    ),
    a_queue(
        "PriorityQueue",
        queues.PriorityQueueModel,
        PriorityQueue,
        "put 1, put 2, get, cancel",
        "get_nowait, timed get, yield",
    ),
    two_channels(
        "Channel(0)",
        channels.ChannelsModel,
        "send, recv, try_send, try_recv, close, cancel",
        "yield",
    ),
    two_channels(
        "Channel(1)",
        channels.BufferedChannelsModel,
        "send, recv, try_send, try_recv, close, cancel",
        "yield",
    ),
    two_channels(
        "Channel, timeout",
        channels.ChannelsModel,
        "timed send, timed recv, try_send, cancel, yield",
        "try_recv, close",
    ),
    two_channels(
        "select(send, recv)",
        channels.ChannelsModel,
        "select 1, select 2, select 3, close, cancel",
        "send, recv b, yield",
    ),
    Primitive(
        "select(acquire, get)",
        queues.LockAndQueueModel,
        things(lock=Lock, queue=Queue),
        lambda t: (of_lock(t.lock), of_queue(t.queue)),
        OVER_LOCK_AND_QUEUE,
        "select 1, select 2, release, put, cancel",
        "acquire, get, yield",
    ),
    Primitive(
        "select(wait, wait)",
        conditions.ConditionAndEventModel,
        things(condition=Condition, event=Event),
        lambda t: (of_condition(t.condition), *of_event(t.event)),
        OVER_WAITS,
        "select 1, select 2, notify, set, cancel",
        "notify+cancel, clear, yield",
    ),
]
PRIMITIVES = {primitive.name: primitive for primitive in ALL}
