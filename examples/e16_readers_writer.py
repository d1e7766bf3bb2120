"""A reader-writer lock: any number of readers at once, or one writer alone.

The first reader takes the room, the last one gives it back: a semaphore, since
those are two different tasks, and a lock would refuse. Who waits for the room
waits in the doorway, with all others behind him; so readers who come and come
cannot keep a writer out. Giving back is a plain call, fit for a `finally`.

Try: leave out the doorway, and see when the writer has his turn. Compare
`release_read` with the twin's: why does that need a lock?
"""

from examples import Routine
from microthreads import Lock, Semaphore, run, sleep, spawn


class ReadWriteLock:
    def __init__(self) -> None:
        self.doorway = Lock(name="doorway")
        self.room = Semaphore(1, name="room")
        self.readers = 0

    def acquire_read(self) -> Routine[None]:
        with (yield self.doorway.acquire()):
            if self.readers == 0:
                yield self.room.acquire()
            self.readers += 1

    def release_read(self) -> None:
        self.readers -= 1
        if self.readers == 0:
            self.room.release()

    def acquire_write(self) -> Routine[None]:
        with (yield self.doorway.acquire()):
            yield self.room.acquire()

    def release_write(self) -> None:
        self.room.release()


def read(name: str, lock: ReadWriteLock, page: list[str]) -> Routine[None]:
    yield lock.acquire_read()
    try:
        print(f"{name} reads {page[-1]!r}; readers: {lock.readers}")
        yield sleep(0.2)
    finally:
        lock.release_read()


def write(text: str, lock: ReadWriteLock, page: list[str]) -> Routine[None]:
    yield lock.acquire_write()
    try:
        page.append("half a word")
        yield sleep(0.1)
        page.append(text)
        print(f"{text!r} is written; readers: {lock.readers}")
    finally:
        lock.release_write()


def main() -> Routine[None]:
    lock, page = ReadWriteLock(), ["once"]
    yield spawn(read("Ann", lock, page))
    yield spawn(read("Bob", lock, page))
    yield spawn(write("upon", lock, page))
    yield spawn(read("Cyd", lock, page))
    yield spawn(read("Dan", lock, page))


if __name__ == "__main__":
    run(main())
