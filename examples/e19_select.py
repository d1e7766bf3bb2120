"""A race with a time limit: whichever answers first, but no longer than so long.

`select` waits for several system calls, and makes exactly one of them. The time
limit is one more call. The others are as if they had never been made: an answer
that is late is not lost, it is there for the next `select`. (Threads cannot wait
for one of several queues, so this has no twin.)

Try: wait for 0.05 s only. Who is left waiting at the end? Swap the branches.
Compare `race`, which ends the losers, and `with move_on_after(seconds):`, which
gives up on a whole block.
"""

from examples import Routine
from microthreads import Channel, run, select, sleep, spawn


def answer(channel: Channel[str], text: str, seconds: float) -> Routine[None]:
    yield sleep(seconds)
    yield channel.send(text)


def main() -> Routine[None]:
    east: Channel[str] = Channel()
    west: Channel[str] = Channel()
    yield spawn(answer(east, "good morning", 0.4))
    yield spawn(answer(west, "good evening", 0.1))
    for _ in range(3):
        match (yield select(east.recv(), west.recv(), sleep(0.2))):
            case 0, text:
                print("the east says", text)
            case 1, text:
                print("the west says", text)
            case 2, _:
                print("nobody has answered in time")


if __name__ == "__main__":
    run(main())
