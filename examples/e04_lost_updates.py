"""A shared counter that loses updates, because a `yield` stands in the wrong place.

Two tasks read the counter, let the other one run, and write back what they read
plus one. What the other has written in between is lost. Here that goes wrong in
the same way each time; with threads (see the twin) it goes wrong as it likes.

Try: take the `yield` away, or put it behind the write: what stands between two
yields is atomic. Why is it 1001 and not 1000? `count(1)` gives 2, which is right:
by luck. To see that, put `assert (yield count(1)) == 2` into a routine `check`,
and print what `microthreads.sim.explore(check)` says.
"""

from examples import Routine
from microthreads import gather, run


class Counter:
    value = 0


def add(counter: Counter, times: int) -> Routine[None]:
    for _ in range(times):
        value = counter.value
        yield
        counter.value = value + 1


def count(times: int) -> Routine[int]:
    counter = Counter()
    yield gather(add(counter, times), add(counter, times))
    return counter.value


def main() -> Routine[None]:
    print("the counter is", (yield count(1000)))
    print("it should be 2000")


if __name__ == "__main__":
    run(main())
