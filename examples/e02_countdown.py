"""Countdowns of different speed, on the kernel.

A task yields a system call, `sleep`, to say what it wants. While it sleeps, the
others run: all is over after the time of the longest, not of all together.

Try: leave out the `yield` before `sleep`. What happens, and why? Then count in
hours, not in seconds: `from microthreads.sim import VirtualClock`, and
`run(main(), clock=VirtualClock())`.
"""

from examples import Routine
from microthreads import run, sleep, spawn


def countdown(name: str, number: int, seconds: float) -> Routine[None]:
    while number > 0:
        print(name, number)
        yield sleep(seconds)
        number -= 1
    print(name, "has landed")


def main() -> Routine[None]:
    yield spawn(countdown("rocket", 3, 0.2))
    yield spawn(countdown("balloon", 2, 0.5))
    print("counting")


if __name__ == "__main__":
    run(main())
