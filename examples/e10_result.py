"""A worker that hands back a result, with an Event that says that it is there.

An `Answer` is a place for a value and an event: who asks goes on with his own
work, and waits when he cannot do without it.

Try: take Answer out. A task is such an answer already: `yield worker` waits, and
gives what the routine returned. What is more, it raises the error if there was
one; what happens here, if the worker fails?
"""

from examples import Routine
from microthreads import Event, run, sleep, spawn


class Answer:
    def __init__(self) -> None:
        self.there = Event(name="answer")
        self.value = 0

    def give(self, value: int) -> None:
        self.value = value
        self.there.set()

    def get(self) -> Routine[int]:
        yield self.there.wait()
        return self.value


def work(numbers: range, answer: Answer) -> Routine[None]:
    yield sleep(0.1)
    answer.give(sum(numbers))


def main() -> Routine[None]:
    answer = Answer()
    yield spawn(work(range(101), answer))
    print("the worker is at work")
    print("its answer is", (yield answer.get()))


if __name__ == "__main__":
    run(main())
