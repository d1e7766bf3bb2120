"""The twin of ../e04_lost_updates.py: wrong as well, and each time in another way."""

import time
from threading import Thread


class Counter:
    value = 0


def add(counter: Counter, times: int) -> None:
    for _ in range(times):
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
    print("it should be 2000")


if __name__ == "__main__":
    main()
