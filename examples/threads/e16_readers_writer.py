"""The twin of ../e16_readers_writer.py: one lock more, for the count of readers."""

import time
from threading import Lock, Semaphore, Thread


class ReadWriteLock:
    def __init__(self) -> None:
        self.doorway = Lock()
        self.room = Semaphore(1)
        self.counting = Lock()
        self.readers = 0

    def acquire_read(self) -> None:
        with self.doorway, self.counting:
            if self.readers == 0:
                self.room.acquire()
            self.readers += 1

    def release_read(self) -> None:
        with self.counting:
            self.readers -= 1
            if self.readers == 0:
                self.room.release()

    def acquire_write(self) -> None:
        with self.doorway:
            self.room.acquire()

    def release_write(self) -> None:
        self.room.release()


def read(name: str, lock: ReadWriteLock, page: list[str]) -> None:
    lock.acquire_read()
    try:
        print(f"{name} reads {page[-1]!r}; readers: {lock.readers}")
        time.sleep(0.2)
    finally:
        lock.release_read()


def write(text: str, lock: ReadWriteLock, page: list[str]) -> None:
    lock.acquire_write()
    try:
        page.append("half a word")
        time.sleep(0.1)
        page.append(text)
        print(f"{text!r} is written; readers: {lock.readers}")
    finally:
        lock.release_write()


def main() -> None:
    lock, page = ReadWriteLock(), ["once"]
    Thread(target=read, args=("Ann", lock, page)).start()
    Thread(target=read, args=("Bob", lock, page)).start()
    time.sleep(0.02)
    Thread(target=write, args=("upon", lock, page)).start()
    time.sleep(0.02)
    Thread(target=read, args=("Cyd", lock, page)).start()
    Thread(target=read, args=("Dan", lock, page)).start()


if __name__ == "__main__":
    main()
