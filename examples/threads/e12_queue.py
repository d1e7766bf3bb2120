"""The twin of ../e12_queue.py: which cook has which order is not certain."""

import time
from queue import Queue
from threading import Thread


def cook(name: str, orders: Queue[str]) -> None:
    while True:
        dish = orders.get()
        time.sleep(0.01 * len(dish))
        print(name, "serves", dish)
        orders.task_done()


def main() -> None:
    orders: Queue[str] = Queue(maxsize=2)
    Thread(target=cook, args=("ann", orders), daemon=True).start()
    Thread(target=cook, args=("bob", orders), daemon=True).start()
    for dish in ("spaghetti bolognese", "soup", "rice"):
        orders.put(dish)
    print("all is ordered")
    orders.join()
    print("all is served")


if __name__ == "__main__":
    main()
