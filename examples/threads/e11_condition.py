"""The twin of ../e11_condition.py: who comes first here is not certain."""

import time
from collections import deque
from threading import Condition, Lock, Thread


class Buffer:
    def __init__(self, places: int) -> None:
        self.items: deque[str] = deque()
        self.places = places
        lock = Lock()
        self.has_room = Condition(lock)
        self.has_items = Condition(lock)

    def put(self, item: str) -> None:
        with self.has_room:
            self.has_room.wait_for(lambda: len(self.items) < self.places)
            self.items.append(item)
            print("put", item)
            self.has_items.notify()

    def get(self) -> str:
        with self.has_items:
            self.has_items.wait_for(lambda: self.items)
            item = self.items.popleft()
            print("got", item)
            self.has_room.notify()
            return item


def produce(buffer: Buffer, items: str) -> None:
    for item in items:
        buffer.put(item)


def consume(buffer: Buffer, count: int) -> None:
    for _ in range(count):
        buffer.get()
        time.sleep(0.02)


def main() -> None:
    buffer = Buffer(places=2)
    Thread(target=produce, args=(buffer, "abcde")).start()
    Thread(target=consume, args=(buffer, 5)).start()


if __name__ == "__main__":
    main()
