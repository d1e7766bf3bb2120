"""The twin of ../e09_event.py."""

import time
from threading import Event, Thread


def initialise(settings: dict[str, str], ready: Event) -> None:
    time.sleep(0.1)
    settings["colour"] = "blue"
    print("the settings are there")
    ready.set()


def paint(name: str, settings: dict[str, str], ready: Event) -> None:
    if not ready.is_set():
        print(name, "waits")
    ready.wait()
    print(name, "paints in", settings["colour"])


def main() -> None:
    settings: dict[str, str] = {}
    ready = Event()
    early = Thread(target=paint, args=("early", settings, ready))
    early.start()
    Thread(target=initialise, args=(settings, ready)).start()
    early.join()
    Thread(target=paint, args=("late", settings, ready)).start()


if __name__ == "__main__":
    main()
