"""Two locks, repaired: everybody takes them in the same order.

Which order that is does not matter, as long as there is only one. Then whoever
has the last lock that he needs waits for nobody, and a circle cannot be.

Try: let `microthreads.sim.explore(main)` prove it: it goes through all schedules.
(Take the `print` out first.) Give Ann a ruler as well: `enter_context` of a
`contextlib.ExitStack` takes any number of guards.
"""

from examples import Routine
from microthreads import Lock, run, spawn


def write(name: str, one: Lock, other: Lock) -> Routine[None]:
    first, second = sorted((one, other), key=str)  # by their names
    with (yield first.acquire()):
        yield  # let the other one run
        with (yield second.acquire()):
            print(name, "writes")


def main() -> Routine[None]:
    pen, paper = Lock(name="pen"), Lock(name="paper")
    yield spawn(write("Ann", pen, paper), name="Ann")
    yield spawn(write("Bob", paper, pen), name="Bob")


if __name__ == "__main__":
    run(main())
