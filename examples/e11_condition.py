"""Producer and consumer, with a buffer of two places that is made of conditions.

A condition belongs to a lock. `wait_for` gives the lock up while what it waits
for is not true, and has it back when it is. The buffer has one lock, and two
conditions: somebody waits for room, somebody else for an item.

Try: let the producer be the slow one, with the sleep in its loop. Take two
consumers. Leave out the `notify` in `get`, and read who waits for what; then only
the one in `put`: why does that go well?
"""

from collections import deque

from examples import Routine
from microthreads import Condition, Lock, gather, run, sleep


class Buffer:
    def __init__(self, places: int) -> None:
        self.items: deque[str] = deque()
        self.places = places
        lock = Lock()
        self.has_room = Condition(lock, name="has room")
        self.has_items = Condition(lock, name="has items")

    def put(self, item: str) -> Routine[None]:
        with (yield self.has_room.acquire()):
            yield self.has_room.wait_for(lambda: len(self.items) < self.places)
            self.items.append(item)
            print("put", item)
            self.has_items.notify()

    def get(self) -> Routine[str]:
        with (yield self.has_items.acquire()):
            yield self.has_items.wait_for(lambda: self.items)
            item = self.items.popleft()
            print("got", item)
            self.has_room.notify()
            return item


def produce(buffer: Buffer, items: str) -> Routine[None]:
    for item in items:
        yield buffer.put(item)


def consume(buffer: Buffer, count: int) -> Routine[None]:
    for _ in range(count):
        yield buffer.get()
        yield sleep(0.02)


def main() -> Routine[None]:
    buffer = Buffer(places=2)
    yield gather(produce(buffer, "abcde"), consume(buffer, 5))


if __name__ == "__main__":
    run(main())
