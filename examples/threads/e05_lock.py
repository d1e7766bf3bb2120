"""The twin of ../e05_lock.py."""

import time
from threading import Lock, Thread


class Counter:
    def __init__(self) -> None:
        self.value = 0
        self.lock = Lock()


def add(counter: Counter, times: int) -> None:
    for _ in range(times):
        with counter.lock:
            value = counter.value
            time.sleep(0)  # let the other thread run
            counter.value = value + 1


def count(times: int) -> int:
    counter = Counter()
    threads = [Thread(target=add, args=(counter, times)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counter.value


def main() -> None:
    print("the counter is", count(1000))


if __name__ == "__main__":
    main()
