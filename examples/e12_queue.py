"""Producer and consumers again, with a Queue that does all of that.

Two cooks work on orders. Each says `task_done` when a dish is served, and `join`
waits until all that was put is done. The cooks are daemons: when nobody is left
but them, the restaurant closes.

Try: leave out `task_done`, and read what the program waits for. Have more dishes,
one cook, and a `print` behind `put`: what does `maxsize` do then?
"""

from examples import Routine
from microthreads import Queue, run, sleep, spawn


def cook(name: str, orders: Queue[str]) -> Routine[None]:
    while True:
        dish = yield orders.get()
        yield sleep(0.01 * len(dish))
        print(name, "serves", dish)
        orders.task_done()


def main() -> Routine[None]:
    orders: Queue[str] = Queue(maxsize=2)
    yield spawn(cook("ann", orders), daemon=True)
    yield spawn(cook("bob", orders), daemon=True)
    for dish in ("spaghetti bolognese", "soup", "rice"):
        yield orders.put(dish)
    print("all is ordered")
    yield orders.join()
    print("all is served")


if __name__ == "__main__":
    run(main())
