"""The twin of ../e13_deadlock.py: nobody notices, so we must ask."""

import time
from threading import Lock, Thread


def write(name: str, first: Lock, second: Lock) -> None:
    with first:
        time.sleep(0.1)  # let the other one run
        with second:
            print(name, "writes")


def main() -> None:
    pen, paper = Lock(), Lock()
    ann = Thread(target=write, args=("Ann", pen, paper), daemon=True)
    bob = Thread(target=write, args=("Bob", paper, pen), daemon=True)
    ann.start()
    bob.start()
    for name, thread in (("Ann", ann), ("Bob", bob)):
        thread.join(timeout=0.2)
        print(name, "is still there" if thread.is_alive() else "is done")


if __name__ == "__main__":
    main()
