"""Tasks that take turns: the idea in its smallest form, with no library at all.

A generator stops at each `yield`, and keeps its place. So whoever holds several
of them in a queue can run them in turn. That is a scheduler, and `run` is one.

Try: let a task yield a generator, and `run` append that to the queue. Now tasks
can spawn tasks; and what they yield is a system call.
"""

from collections import deque
from collections.abc import Iterator


def countdown(name: str, number: int) -> Iterator[None]:
    while number > 0:
        print(name, number)
        yield
        number -= 1


def run(*tasks: Iterator[None]) -> None:
    ready = deque(tasks)
    while ready:
        task = ready.popleft()
        try:
            next(task)
        except StopIteration:
            continue
        ready.append(task)


if __name__ == "__main__":
    run(countdown("left", 3), countdown("right", 2), countdown("middle", 3))
