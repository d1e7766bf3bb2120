"""Two locks, taken in opposite order: the deadlock, and what is said of it.

Ann has the pen and waits for the paper, Bob has the paper and waits for the pen.
With threads (see the twin) the program would stand still without a word. Here it
ends, and says who holds what and waits for what, at which line; and since each
task is cancelled, what it has in `finally` is done.

Try: take the `yield` between the two away. Now it works, and is still wrong: take
the `print` out, too, and print what `microthreads.sim.explore(main)` says.
"""

from examples import Routine
from microthreads import DeadlockError, Lock, run, spawn


def write(name: str, first: Lock, second: Lock) -> Routine[None]:
    with (yield first.acquire()):
        yield  # let the other one run
        with (yield second.acquire()):
            print(name, "writes")


def main() -> Routine[None]:
    pen, paper = Lock(name="pen"), Lock(name="paper")
    yield spawn(write("Ann", pen, paper), name="Ann")
    yield spawn(write("Bob", paper, pen), name="Bob")


if __name__ == "__main__":
    try:
        run(main())
    except DeadlockError as error:
        print(error)
