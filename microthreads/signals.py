"""Signals as system calls: a task waits for one as it waits for anything else.

So a signal can be waited for beside other things (`select`, `race`), and is acted on
in a task, where everything is allowed, instead of a handler, where little is. How
signals get to the kernel stands in runtime/interrupts.py.
"""

from __future__ import annotations

import signal
from typing import Any, Literal

from microthreads.kernel import PENDING, Pending, SystemCall, Task, Wait, Waiter

__all__ = ["wait_signal"]


VALID = signal.valid_signals()


def wait_signal(*numbers: int) -> SystemCall[int]:
    """A system call that waits for one of these signals, and returns it.

    From the first wait for a signal until `run` ends, the signal no longer does what
    it did before. If it comes while no task waits for it, the next wait has it at
    once; as often as it came, that is once. If several tasks wait, all of them go on.

    A Ctrl-C (`SIGINT`) that comes while one is still waiting to be waited for does
    what Ctrl-C does otherwise: it cancels the main task.

    Args:
        *numbers: Signals, such as ``signal.SIGTERM, signal.SIGHUP``.

    Raises:
        ValueError: There are none, or one is not a signal.
        OSError: At the yield: one cannot be caught, as `SIGKILL` cannot.
        RuntimeError: At the yield: not in the main thread, the only one that gets signals.
    """
    if not numbers:
        raise ValueError("wait_signal() needs at least one signal")
    return WaitSignal(tuple(checked(number) for number in numbers))


def checked(number: int) -> int:
    """`number` as one of the `signal.Signals` if it has a name, if it is a signal at all."""
    if not isinstance(number, int | str):
        raise TypeError(f"wait_signal(): {number!r} is not a signal: give them one by one")
    if number not in VALID:
        name = number if str(number) in signal.Signals.__members__ else "SIGTERM"
        raise ValueError(f"wait_signal(): {number!r} is not a signal: give it as signal.{name}")
    try:
        return signal.Signals(number)
    except ValueError:
        return number  # a real-time signal


class WaitSignal(SystemCall[int]):
    """Wait for a signal."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.waiter = None
        self.numbers = numbers

    def attempt(self, task: Task[Any]) -> int | Literal[Pending.PENDING]:
        kernel: Any = task.kernel
        caught = kernel.caught
        caught.catch(self.numbers)
        for number in self.numbers:
            if number in caught.pending:
                caught.pending.remove(number)
                return number
        return PENDING

    def arm(self, waiter: Waiter) -> None:
        kernel: Any = waiter.kernel
        kernel.outside += 1
        kernel.caught.waiters.append(self)

    def disarm(self, waiter: Waiter) -> None:
        waiter.kernel.outside -= 1
        self.queue.remove(self)

    def describe(self) -> Wait:
        names = [getattr(number, "name", f"signal {number:d}") for number in self.numbers]
        return Wait(f"wait for {' or '.join(names)}")
