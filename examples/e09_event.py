"""Initialisation: tasks that must not begin before something is ready.

`wait` waits until the event is set. It stays set: who comes later does not wait.

Try: leave `set` out, and see how the program ends.
"""

from examples import Routine
from microthreads import Event, join, run, sleep, spawn


def initialise(settings: dict[str, str], ready: Event) -> Routine[None]:
    yield sleep(0.1)
    settings["colour"] = "blue"
    print("the settings are there")
    ready.set()


def paint(name: str, settings: dict[str, str], ready: Event) -> Routine[None]:
    if not ready.is_set():
        print(name, "waits")
    yield ready.wait()
    print(name, "paints in", settings["colour"])


def main() -> Routine[None]:
    settings: dict[str, str] = {}
    ready = Event(name="ready")
    early = yield spawn(paint("early", settings, ready))
    yield spawn(initialise(settings, ready))
    yield join(early)
    yield spawn(paint("late", settings, ready))


if __name__ == "__main__":
    run(main())
