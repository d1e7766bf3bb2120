"""The shared counter again, repaired with a lock.

`yield lock.acquire()` waits until no other task has the lock, and gives a guard
to be used in a `with`. Releasing is a plain call, so the end of the block does it.

Try: write `with lock:`, and read what the error says. Move the write out of the
block, behind it: `explore` (see e04_lost_updates.py) proves that this is right as
well. Why is it, and why not in the twin?
"""

from examples import Routine
from microthreads import Lock, gather, run


class Counter:
    def __init__(self) -> None:
        self.value = 0
        self.lock = Lock()


def add(counter: Counter, times: int) -> Routine[None]:
    for _ in range(times):
        with (yield counter.lock.acquire()):
            value = counter.value
            yield
            counter.value = value + 1


def count(times: int) -> Routine[int]:
    counter = Counter()
    yield gather(add(counter, times), add(counter, times))
    return counter.value


def main() -> Routine[None]:
    print("the counter is", (yield count(1000)))


if __name__ == "__main__":
    run(main())
