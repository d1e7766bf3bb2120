"""The dining philosophers: five who think and eat, and five forks between them.

Each needs the fork on his left and the one on his right. If all take the left one
first, all wait for the right one for ever. Here a doorman lets only four of them
to the table, so that one of those can always eat. (The problem is Dijkstra's, of
1965, and the doorman Scholten's.)

Try: five seats. Then, with five seats, let one of them take the right fork first.
That does it as well; e14_lock_order.py says why.
"""

from examples import Routine
from microthreads import Lock, Semaphore, TaskGroup, run

NAMES = ("Plato", "Hypatia", "Socrates", "Aspasia", "Diogenes")


class Table:
    def __init__(self, seats: int) -> None:
        self.seats = Semaphore(seats, name="seats")
        self.forks = [Lock(name=f"fork {number}") for number in range(5)]
        self.eating: set[int] = set()

    def dine(self, number: int) -> Routine[None]:
        left, right = self.forks[number], self.forks[(number + 1) % 5]
        for _ in range(3):
            yield  # think
            with (yield self.seats.acquire()), (yield left.acquire()):
                yield  # reach for the other fork
                with (yield right.acquire()):
                    yield from self.eat(number)
        print(NAMES[number], "has eaten three times")

    def eat(self, number: int) -> Routine[None]:
        assert not self.eating & {(number - 1) % 5, (number + 1) % 5}, "a fork for two"
        self.eating.add(number)
        yield  # eat
        self.eating.remove(number)


def main() -> Routine[None]:
    table = Table(seats=4)
    with TaskGroup() as group:
        for number, name in enumerate(NAMES):
            yield group.spawn(table.dine(number), name=name)
        yield group.join()


if __name__ == "__main__":
    run(main())
