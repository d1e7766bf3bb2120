"""The twin of ../e10_result.py. A thread gives no result, so threads do need this."""

import time
from threading import Event, Thread


class Answer:
    def __init__(self) -> None:
        self.there = Event()
        self.value = 0

    def give(self, value: int) -> None:
        self.value = value
        self.there.set()

    def get(self) -> int:
        self.there.wait()
        return self.value


def work(numbers: range, answer: Answer) -> None:
    time.sleep(0.1)
    answer.give(sum(numbers))


def main() -> None:
    answer = Answer()
    Thread(target=work, args=(range(101), answer)).start()
    print("the worker is at work")
    print("its answer is", answer.get())


if __name__ == "__main__":
    main()
