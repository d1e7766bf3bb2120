"""The twin of ../e17_pipeline.py: queues of 1, and None where a channel is closed."""

from queue import Queue
from threading import Thread


def count(numbers: Queue[int | None]) -> None:
    for number in range(10):
        numbers.put(number)
    numbers.put(None)


def choose_odd(numbers: Queue[int | None], odd: Queue[int | None]) -> None:
    while (number := numbers.get()) is not None:
        if number % 2:
            odd.put(number)
    odd.put(None)


def square(odd: Queue[int | None], squares: Queue[int | None]) -> None:
    while (number := odd.get()) is not None:
        squares.put(number * number)
    squares.put(None)


def main() -> None:
    numbers: Queue[int | None] = Queue(1)
    odd: Queue[int | None] = Queue(1)
    squares: Queue[int | None] = Queue(1)
    Thread(target=count, args=(numbers,)).start()
    Thread(target=choose_odd, args=(numbers, odd)).start()
    Thread(target=square, args=(odd, squares)).start()
    while (number := squares.get()) is not None:
        print(number)


if __name__ == "__main__":
    main()
