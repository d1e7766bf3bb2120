"""The twin of ../e07_monitor.py."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import RLock


class Stock:
    def __init__(self, apples: int, pears: int) -> None:
        self.lock = RLock()
        self.fruits = {"apples": apples, "pears": pears}

    def take(self, fruit: str) -> None:
        with self.lock:
            time.sleep(0.01)
            self.fruits[fruit] -= 1

    def put(self, fruit: str) -> None:
        with self.lock:
            time.sleep(0.01)
            self.fruits[fruit] += 1

    def swap(self, give: str, get: str) -> None:
        with self.lock:
            self.take(give)
            self.put(get)

    def total(self) -> int:
        with self.lock:
            return sum(self.fruits.values())


def trade(stock: Stock) -> None:
    for _ in range(5):
        stock.swap("apples", "pears")


def watch(stock: Stock) -> set[int]:
    seen = set()
    for _ in range(10):
        seen.add(stock.total())
        time.sleep(0.01)
    return seen


def main() -> None:
    stock = Stock(apples=10, pears=0)
    with ThreadPoolExecutor() as pool:
        pool.submit(trade, stock)
        seen = pool.submit(watch, stock).result()
    print("in stock:", stock.fruits)
    print("totals that the clerk has seen:", seen)


if __name__ == "__main__":
    main()
