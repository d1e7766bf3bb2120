"""The twin of ../e03_workers.py: a join gives no result, and a daemon no last word."""

import time
from threading import Thread

results: dict[int, int] = {}


def work(number: int) -> None:
    print("worker", number, "starts")
    time.sleep(0.1 * number)
    print("worker", number, "ends")
    results[number] = number * number


def watch() -> None:
    try:
        while True:
            time.sleep(0.01)
    finally:
        print("the daemon has ended")


def main() -> None:
    Thread(target=watch, daemon=True).start()
    workers = {}
    for number in (3, 2, 1):
        workers[number] = Thread(target=work, args=(number,))
        workers[number].start()
    for number, worker in workers.items():
        worker.join()
        print("the result is", results[number])


if __name__ == "__main__":
    main()
