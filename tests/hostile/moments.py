"""A plain call at any moment, as a finalizer makes one: at the n-th event in the library.

An event is a call or a return of one of its functions, or, for a sample, any instruction.
The plain call is made once. If it says that it could do nothing, for nobody waited, it is
made once more when all is quiet; if it did something, that was enough.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from random import Random
from types import FrameType
from typing import Any

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    ClosedError,
    Descriptor,
    Event,
    Queue,
    Semaphore,
    Task,
    run,
    select,
    sleep,
    spawn,
)

from .case import Case, Cases, Complaints, Gen
from .scenes import SCENES, WAYS, Scene, Way
from .trial import TooLong, World, aside, time_limit, told, trial

PACKAGE = os.path.dirname(microthreads.__file__) + os.sep
MOST = 400  # events of a program, at most
WAITING = 0.3  # seconds until a poller that waits is ended


class Striker:
    """Calls a function once, at the n-th event after it was armed.

    Attributes:
        left: How many events are left until then.
        act: What to call, or None when it is not armed.
        result: What it returned, or the error.
        struck: Whether it has been called.
    """

    def __init__(self, at: int, instructions: bool) -> None:
        self.left = at
        self.instructions = instructions
        self.act: Callable[[], Any] | None = None
        self.result: Any = None
        self.struck = False
        self.when = 0.0  # at what time

    def event(self) -> None:
        if self.act is None or self.struck:
            return
        self.left -= 1
        if self.left <= 0:
            self.struck = True
            self.when = time.monotonic()
            try:
                self.result = self.act()
            except BaseException as error:
                self.result = error

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "return") and frame.f_code.co_filename.startswith(PACKAGE):
            self.event()

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.event()
        return self.trace

    @contextmanager
    def watching(self) -> Iterator[None]:
        """In this block events count."""
        if self.instructions:
            sys.settrace(self.trace)
        else:
            sys.setprofile(self.profile)
        try:
            yield
        finally:
            sys.settrace(None)
            sys.setprofile(None)


def acting(world: World, striker: Striker, kind: type[Scene], way: Way) -> Gen:
    """One task waits; the strike comes while it is parked, or goes on; then it has gone on."""
    scene = kind(1)
    try:
        yield from scene.prepare()
        striker.act = partial(scene.act, 0)
        task = yield spawn(scene.routine(way))
        scene.tasks.append(task)
        yield sleep(1)
        striker.act = None
        if isinstance(striker.result, BaseException):
            world.harm.append(f"the plain call raised {told(striker.result)}")
        if striker.result is not True:
            scene.act(0)
        yield sleep(1)
        if not task.done:
            world.harm.append(f"it was {striker.result}, and the waiter waits for ever")
            task.cancel()
        elif not scene.right():
            world.harm.append(f"it was {striker.result}, and the outcome {scene.outcomes}")
    finally:
        striker.act = None
        scene.end()


# A task is cancelled, or its time is over, at any moment of a hand-over: nothing is lost


class HandOver:
    """One value goes from `give` to `take`, while the strike hits one of the two."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.taken: list[str] = []

    def give(self) -> Any:
        raise NotImplementedError

    def take(self) -> Any:
        raise NotImplementedError

    def left(self) -> int:
        """How many values are in between."""
        return 0


class ByChannel(HandOver):
    def __init__(self) -> None:
        super().__init__()
        self.channel: Channel[str] = Channel()

    def give(self) -> Any:
        return self.channel.send("value")

    def take(self) -> Any:
        return self.channel.recv()


class ByBuffer(ByChannel):
    def __init__(self) -> None:
        super().__init__()
        self.channel = Channel(1)

    def left(self) -> int:
        return len(self.channel)


class ByQueue(HandOver):
    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[str] = Queue(1)

    def give(self) -> Any:
        return self.queue.put("value", timeout=5)

    def take(self) -> Any:
        return self.queue.get(timeout=5)

    def left(self) -> int:
        return self.queue.qsize()


class BySemaphore(HandOver):
    def __init__(self) -> None:
        super().__init__()
        self.semaphore = Semaphore(0)

    def give(self) -> Any:
        self.semaphore.release()
        return sleep(0)

    def take(self) -> Any:
        return self.semaphore.acquire(timeout=5)

    def left(self) -> int:
        return self.semaphore.free


HAND_OVERS = {
    "Channel": ByChannel,
    "Channel(1)": ByBuffer,
    "Queue": ByQueue,
    "Semaphore": BySemaphore,
}


def once(log: list[str], make: Callable[[], Any], selected: bool) -> Gen:
    try:
        yield select(Event().wait(), make()) if selected else make()
    except Cancelled:
        log.append("cancelled")
        raise
    log.append("done")


def handing(
    world: World, striker: Striker, kind: type[HandOver], selected: bool, victim: str
) -> Gen:
    hand_over = kind()
    taker = yield spawn(once(hand_over.taken, hand_over.take, selected))
    tasks: dict[str, Task[Any]] = {"take": taker}
    striker.act = lambda: tasks[victim].cancel() if victim in tasks else None
    giver = yield spawn(once(hand_over.given, hand_over.give, selected and kind is not BySemaphore))
    tasks["give"] = giver
    yield sleep(1)
    striker.act = None
    given = hand_over.given.count("done") + (kind is BySemaphore and hand_over.given != ["done"])
    taken = hand_over.taken.count("done")
    if given != taken + hand_over.left():
        world.harm.append(f"given: {hand_over.given}, taken: {hand_over.taken}")
    for name, task in tasks.items():
        if name == victim and not task.done and striker.struck and task.cancel_requested:
            world.harm.append(f"the {name}r was cancelled, and does not end")
        task.cancel()
    yield sleep(1)


# On a real clock the poller waits: a wake that comes as it begins to wait must end that


def waiting(striker: Striker, event: Event) -> Gen:
    """Wait for an event that is set once, while another task waits for a descriptor."""
    near, far = os.pipe()
    descriptor = Descriptor(near)
    try:
        yield spawn(reading(descriptor), daemon=True)
        striker.act = event.set
        yield event.wait()
    finally:
        striker.act = None
        descriptor.detach()
        os.close(near)
        os.close(far)


def reading(descriptor: Descriptor) -> Gen:
    with suppress(ClosedError):
        yield descriptor.readable()


def woken_in_time() -> Complaints:
    """At each call and return, until that is after the kernel has begun to wait."""
    for at in range(1, MOST):
        striker, event = Striker(at, instructions=False), Event()
        began = time.monotonic()
        try:
            with aside(), striker.watching(), time_limit(WAITING):
                run(waiting(striker, event), grace=0.1)
        except TooLong:
            if striker.struck and striker.when < began + WAITING:  # else by the alarm itself
                return [f"at event {at}: a task is ready, and the poller waits"]
            return []
    return []


Program = Callable[[World, Striker], Gen]


def cases() -> Cases:
    """Each plain call that may come at any moment, for each way in which a task waits."""
    for call, kind in SCENES.items():
        for way in WAYS if kind.anywhere else ():
            program: Any = partial(acting, kind=kind, way=WAYS[way])
            yield Case("moments", call, way, way, partial(tried, program))
    for name, over in HAND_OVERS.items():
        for selected in (False, True):
            for victim in ("take", "give"):
                if over is BySemaphore and victim == "give":
                    continue
                way = "in a select" if selected else "directly"
                program = partial(handing, kind=over, selected=selected, victim=victim)
                call = f"{name}, {victim}r.cancel"
                yield Case("moments", call, way, way, partial(tried, program))


def blocking() -> Cases:
    """The poller's own moments."""
    yield Case("moments", "Event.set, poller", "directly", "directly", woken_in_time)


def tried(program: Program) -> Complaints:
    """At each call and return."""
    wrong: Complaints = []
    for at in range(1, MOST):
        struck, found = struck_at(program, at, instructions=False)
        wrong += found
        if not struck:
            break
    return wrong


def struck_at(program: Program, at: int, instructions: bool) -> tuple[bool, Complaints]:
    striker = Striker(at, instructions)

    def begin(world: World) -> Gen:
        return program(world, striker)

    with striker.watching():
        found = trial(begin, observed=False, company=False)
    what = "instruction" if instructions else "event"
    return striker.struck, [f"at {what} {at}: {each}" for each in found]


def sampled(rounds: int, seed: int) -> Cases:
    """The same at instructions, of which a sample is taken."""
    random = Random(seed)
    for case in cases():
        program = case.attempt.args[0]  # type: ignore[attr-defined]
        moments = sorted(random.sample(range(1, 3000), rounds))
        attempt = partial(at_instructions, program, moments)
        yield Case("moments", case.call, "instructions", case.thing, attempt)


def at_instructions(program: Program, moments: list[int]) -> Complaints:
    wrong: Complaints = []
    for at in moments:
        struck, found = struck_at(program, at, instructions=True)
        wrong += found
        if not struck:
            break
    return wrong
