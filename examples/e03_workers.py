"""Starting tasks, joining them for their results, and a daemon beside them.

`spawn` gives a `Task`. To yield the task is to join it: wait for its end, and
have its result. The program goes on until all tasks have ended, but for daemons:
those are cancelled then, and what they have in `finally` is done.

Try: let a worker raise ValueError, and see where that comes out: with its join,
and without.
"""

from examples import Routine
from microthreads import run, sleep, spawn


def work(number: int) -> Routine[int]:
    print("worker", number, "starts")
    yield sleep(0.1 * number)
    print("worker", number, "ends")
    return number * number


def watch() -> Routine[None]:
    try:
        while True:
            yield sleep(0.01)
    finally:
        print("the daemon has ended")


def main() -> Routine[None]:
    yield spawn(watch(), daemon=True)
    workers = []
    for number in (3, 2, 1):
        workers.append((yield spawn(work(number))))
    for worker in workers:
        print("the result is", (yield worker))


if __name__ == "__main__":
    run(main())
