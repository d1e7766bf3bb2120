"""The twin of ../e14_lock_order.py. These locks have no names, so their addresses do."""

import time
from threading import Lock, Thread


def write(name: str, one: Lock, other: Lock) -> None:
    first, second = sorted((one, other), key=id)
    with first:
        time.sleep(0.1)  # let the other one run
        with second:
            print(name, "writes")


def main() -> None:
    pen, paper = Lock(), Lock()
    Thread(target=write, args=("Ann", pen, paper)).start()
    Thread(target=write, args=("Bob", paper, pen)).start()


if __name__ == "__main__":
    main()
