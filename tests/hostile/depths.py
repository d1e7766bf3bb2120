"""Plain calls near the recursion limit: they are made wholly, or can be made again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from microthreads import sleep, spawn

from .case import Case, Cases, Complaints, Gen
from .scenes import SCENES, WAYS, Scene, Way
from .trial import World, trial

DEEPEST = 45  # calls that are left, at most; what needs more is not found here
WAITERS = 3
MANY = 2  # complaints of one case are enough


def room() -> int:
    """How many calls, one in the other, still fit on the stack."""
    try:
        return 1 + room()
    except RecursionError:
        return 0


def dive(levels: int, act: Callable[[], Any]) -> Any:
    return dive(levels - 1, act) if levels > 0 else act()


def with_room(left: int, act: Callable[[], Any]) -> Any:
    """Call `act` where so many more calls fit on the stack, or raise `RecursionError`."""
    return dive(room() - left, act)


def deep_then_again(scene: Scene, number: int, left: int) -> None:
    """Act near the limit; if that fails, once more at a normal depth."""
    try:
        with_room(left, partial(scene.act, number))
    except RecursionError:
        scene.act(number)


def acting(world: World, kind: type[Scene], way: Way, left: int) -> Gen:
    scene = kind(WAITERS)
    try:
        yield from scene.prepare()
        for _ in range(WAITERS):
            scene.tasks.append((yield spawn(scene.routine(way))))
        yield sleep(1)
        for number in range(WAITERS if scene.single else 1):
            yield from scene.before()
            deep_then_again(scene, number, left)
            yield from scene.after()
        yield sleep(1)
        waiting = sum(not task.done for task in scene.tasks)
        if waiting:
            world.harm.append(f"with room for {left}: {waiting} of {WAITERS} wait for ever")
        if not waiting and not scene.right():
            world.harm.append(f"with room for {left}: outcomes {scene.outcomes}, {rest_of(scene)}")
    finally:
        scene.end()


def rest_of(scene: Scene) -> str:
    """What else the scene knows, for reports."""
    told = ("got", "queue", "semaphore", "begun", "channel", "barrier")
    return ", ".join(f"{name}: {getattr(scene, name)}" for name in told if hasattr(scene, name))


def cases() -> Cases:
    """Each plain call, for each way in which others wait for it."""
    for call, kind in SCENES.items():
        for way in WAYS:
            yield Case("depths", call, way, way, partial(tried, kind, WAYS[way]))


def tried(kind: type[Scene], way: Way) -> Complaints:
    """At all depths."""
    wrong: Complaints = []
    for left in range(kind.least, DEEPEST):
        found = trial(partial(acting, kind=kind, way=way, left=left), observed=False, company=False)
        wrong += [each if "room" in each else f"with room for {left}: {each}" for each in found]
        if len(wrong) > MANY:
            break
    return wrong
