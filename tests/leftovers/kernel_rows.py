"""The rows of whole kernels: what run() leaves behind, and a kernel that is closed or dropped."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

from microthreads import (
    Cancelled,
    DeadlockError,
    Event,
    Kernel,
    current_task,
    sleep,
    spawn,
    timeout,
)

from .held import Failed, Watch
from .row import Steps, end_abandoned

Main: TypeAlias = Callable[[Watch], Any]
GRACE = 0.005  # seconds, as in table.py


class Mains:
    """What a kernel runs, in one form: each is a function that makes a routine."""

    def __init__(self, form: str) -> None:
        self.form = form

    def of(self, steps: Callable[[Watch], Steps]) -> Main:
        """`steps`, or a coroutine that does the same."""

        def main(hold: Watch) -> Any:
            routine = steps(hold) if self.form == "generator" else awaiting(steps(hold))
            return hold.add("routine", routine)

        return main


async def awaiting(steps: Steps) -> Any:
    """Each of `steps`, awaited."""
    value = None
    while True:
        try:
            call = steps.send(value)
        except StopIteration as stop:
            return stop.value
        try:
            value = await call
        except BaseException as error:
            try:
                steps.throw(error)
            finally:
                del steps, error, value


def works(hold: Watch) -> Steps:
    local = hold("local")
    yield spawn(naps(hold))
    yield sleep(0.002)
    del local
    return hold("result")


def naps(hold: Watch) -> Steps:
    local = hold("local of a child")
    yield sleep(0.001)
    del local
    return hold("result of a child")


def fails(hold: Watch) -> Steps:
    local = hold("local")
    yield spawn(sleeps(hold), daemon=True)
    yield sleep(0.001)
    del local
    raise hold.error()


def sleeps(hold: Watch) -> Steps:
    local = hold("local of a child")
    yield sleep(3600)
    del local


def is_cancelled(hold: Watch) -> Steps:
    local = hold("local")
    current_task().cancel(hold("reason"))
    yield sleep(3600)
    del local


def is_interrupted(hold: Watch) -> Steps:
    local = hold("local")
    kernel: Any = current_task().kernel
    kernel.post(kernel.interrupt)
    del kernel
    yield sleep(3600)
    del local


def is_late(hold: Watch) -> Steps:
    local = hold("local")
    with timeout(0.001):
        yield sleep(3600)
    del local


def waits_for_ever(hold: Watch) -> Steps:
    local = hold("local")
    yield spawn(waits(hold))
    yield Event().wait()
    del local


def waits(hold: Watch) -> Steps:
    local = hold("local of a child")
    yield Event().wait()
    del local


def stays(hold: Watch) -> Steps:
    local = hold("local")
    yield spawn(goes_on(hold))
    yield sleep(0.001)
    del local
    raise hold.error()


def goes_on(hold: Watch) -> Steps:
    local = hold("local of a child")
    while True:
        try:
            yield sleep(math.inf)
        except Cancelled:
            pass
    del local


# ---- what is done with a kernel

RAISED = (Failed, Cancelled, TimeoutError, DeadlockError, KeyboardInterrupt)


def run_once(main: Main, hold: Watch) -> None:
    """Run it; the kernel is still there when it is counted what is left."""
    kernel = hold.add("kernel", Kernel(grace=GRACE))
    try:
        kernel.run(main(hold))
    except RAISED:
        pass
    end_abandoned()
    look_but_for_kernel(hold)
    kernel.close()
    del kernel
    hold.look()


def tick(main: Main, hold: Watch) -> None:
    """Drive it by hand until the task is done."""
    kernel = hold.add("kernel", Kernel(grace=GRACE))
    task = kernel.spawn(main(hold))
    while not task.done:
        kernel.tick()
        time.sleep(0.0005)
    kernel.tick()
    del task
    kernel.close()
    end_abandoned()
    look_but_for_kernel(hold)
    del kernel
    hold.look()


def close(main: Main, hold: Watch) -> None:
    """Close it while the task runs."""
    kernel = hold.add("kernel", Kernel(grace=GRACE))
    hold.add("task", kernel.spawn(main(hold)))
    for _ in range(3):
        kernel.tick()
    kernel.close()
    end_abandoned()
    look_but_for_kernel(hold)
    del kernel
    hold.look()


def drop_after_run(main: Main, hold: Watch) -> None:
    """Nobody closes it; its program has ended."""
    kernel = hold.add("kernel", Kernel(grace=GRACE))
    try:
        kernel.run(main(hold))
    except RAISED:
        pass
    end_abandoned()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del kernel
    hold.look()


def look_but_for_kernel(hold: Watch) -> None:
    """Count what is left while the kernel is still there, rightly."""
    hold.look()
    del hold.found["kernel"]


KERNEL_WAYS: dict[str, Callable[[Watch], Steps]] = {
    "result": works,
    "fails": fails,
    "cancel": is_cancelled,
    "limit": is_late,
    "grace": stays,
    "stopped": is_interrupted,
    "run": waits_for_ever,
}
KERNEL_ROWS: dict[str, tuple[Callable[[Main, Watch], None], tuple[str, ...]]] = {
    "Kernel.run": (run_once, tuple(KERNEL_WAYS)),
    "Kernel.tick": (tick, ("result", "fails", "cancel", "limit")),
    "Kernel.close, tasks running": (close, ("result", "fails", "cancel", "limit", "grace")),
    "Kernel, dropped after its run": (drop_after_run, tuple(KERNEL_WAYS)),
}


def kernel_cell(name: str, way: str, form: str) -> Any:
    """What is left of such a program; None if that cannot be."""
    act, ways = KERNEL_ROWS[name]
    if way not in ways:
        return None
    hold = Watch()
    act(Mains(form).of(KERNEL_WAYS[way]), hold)
    return hold.found
