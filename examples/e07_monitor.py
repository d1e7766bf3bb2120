"""A monitor: an object whose every method takes the object's own lock.

So nobody sees it half changed. `swap` calls `take` and `put`, which want the lock
that `swap` has already: that is what an RLock is for. (Its owner is the task, not
the routine.) The tasks here are coroutines; with generators it is the same.

Try: make it a Lock, and read what the error says. Take the lock out of `swap`:
what does the clerk see then?
"""

import sys
from pathlib import Path

if not __package__:  # run as a file, not by -m: the library is one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from microthreads import RLock, TaskGroup, run, sleep


class Stock:
    def __init__(self, apples: int, pears: int) -> None:
        self.lock = RLock()
        self.fruits = {"apples": apples, "pears": pears}

    async def take(self, fruit: str) -> None:
        async with self.lock:
            await sleep(0.01)
            self.fruits[fruit] -= 1

    async def put(self, fruit: str) -> None:
        async with self.lock:
            await sleep(0.01)
            self.fruits[fruit] += 1

    async def swap(self, give: str, get: str) -> None:
        async with self.lock:
            await self.take(give)
            await self.put(get)

    async def total(self) -> int:
        async with self.lock:
            return sum(self.fruits.values())


async def trade(stock: Stock) -> None:
    for _ in range(5):
        await stock.swap("apples", "pears")


async def watch(stock: Stock) -> set[int]:
    seen = set()
    for _ in range(10):
        seen.add(await stock.total())
        await sleep(0.01)
    return seen


async def main() -> None:
    stock = Stock(apples=10, pears=0)
    async with TaskGroup() as group:
        await group.spawn(trade(stock))
        clerk = await group.spawn(watch(stock))
    print("in stock:", stock.fruits)
    print("totals that the clerk has seen:", clerk.result())


if __name__ == "__main__":
    run(main())
