"""Plain calls from finalizers that the garbage collector runs, as often as it can."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

from microthreads import sleep, spawn

from .case import Case, Cases, Complaints, Gen
from .scenes import SCENES, WAYS, Scene, Way
from .trial import World, trial


class Litter:
    """Something in a circle, so that only the collector finds it; it acts when it goes."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act
        self.circle = self

    def __del__(self) -> None:
        self.act()


def acting(world: World, kind: type[Scene], way: Way, steps: int) -> Gen:
    """Litter is dropped some allocations before a task waits; it acts once, some time."""
    scene = kind(1)
    results: list[Any] = []

    def act() -> None:
        try:
            results.append(scene.act(0))
        except BaseException as error:
            results.append(error)

    try:
        yield from scene.prepare()
        gc.collect()
        gc.set_threshold(steps, 1, 1)
        Litter(act)
        scene.tasks.append((yield spawn(scene.routine(way))))
        yield sleep(1)
        gc.set_threshold(0)
        gc.collect()
        yield sleep(1)
        if results != [True]:
            scene.act(0)
            yield sleep(1)
        if not scene.tasks[0].done:
            world.harm.append(f"threshold {steps}: it was {results}, and the waiter waits for ever")
        elif not scene.right():
            world.harm.append(f"threshold {steps}: {results}, and the outcome {scene.outcomes}")
    finally:
        gc.set_threshold(0)
        scene.end()


def tried(kind: type[Scene], way: Way, thresholds: range) -> Complaints:
    wrong: Complaints = []
    usual = gc.get_threshold()
    try:
        for steps in thresholds:
            begin = partial(acting, kind=kind, way=way, steps=steps)
            wrong += trial(begin, observed=False, company=False)
    finally:
        gc.set_threshold(*usual)
    return wrong


def cases(rounds: int = 40) -> Cases:
    """Each plain call, for each way in which a task waits."""
    for call, kind in SCENES.items():
        for way in WAYS if kind.anywhere else ():
            attempt = partial(tried, kind, WAYS[way], range(1, rounds + 1))
            yield Case("collector", call, way, way, attempt)
