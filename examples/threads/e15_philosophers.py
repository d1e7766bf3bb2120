"""The twin of ../e15_philosophers.py.

With five seats it stops for ever, one day, and without a word.
"""

import time
from threading import Lock, Semaphore, Thread

NAMES = ("Plato", "Hypatia", "Socrates", "Aspasia", "Diogenes")


class Table:
    def __init__(self, seats: int) -> None:
        self.seats = Semaphore(seats)
        self.forks = [Lock() for _ in range(5)]
        self.eating: set[int] = set()

    def dine(self, number: int) -> None:
        left, right = self.forks[number], self.forks[(number + 1) % 5]
        for _ in range(3):
            time.sleep(0.01)  # think
            with self.seats, left:
                time.sleep(0)  # reach for the other fork
                with right:
                    self.eat(number)
        print(NAMES[number], "has eaten three times")

    def eat(self, number: int) -> None:
        assert not self.eating & {(number - 1) % 5, (number + 1) % 5}, "a fork for two"
        self.eating.add(number)
        time.sleep(0.01)  # eat
        self.eating.remove(number)


def main() -> None:
    table = Table(seats=4)
    for number, name in enumerate(NAMES):
        Thread(target=table.dine, args=(number,), name=name).start()


if __name__ == "__main__":
    main()
