"""A pipeline: three tasks, and channels from each to the next.

Each stage knows only where its values come from and where they go. A channel
without capacity hands a value over when both are there, so no stage runs ahead.
Closing a channel ends the loop of the stage behind it: `closing` does that when a
stage has ended, in whatever way. The tasks are coroutines, for `async for`.

Try: `Channel(capacity=3)`, and a print in `count`: who runs ahead now, and how
far? One more stage. Let `square` fail, and see that all of them end.
"""

import sys
from contextlib import closing
from pathlib import Path

if not __package__:  # run as a file, not by -m: the library is one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from microthreads import Channel, TaskGroup, run


async def count(numbers: Channel[int]) -> None:
    with closing(numbers):
        for number in range(10):
            await numbers.send(number)


async def choose_odd(numbers: Channel[int], odd: Channel[int]) -> None:
    with closing(odd):
        async for number in numbers:
            if number % 2:
                await odd.send(number)


async def square(odd: Channel[int], squares: Channel[int]) -> None:
    with closing(squares):
        async for number in odd:
            await squares.send(number * number)


async def main() -> None:
    numbers: Channel[int] = Channel(name="numbers")
    odd: Channel[int] = Channel(name="odd")
    squares: Channel[int] = Channel(name="squares")
    async with TaskGroup() as group:
        await group.spawn(count(numbers))
        await group.spawn(choose_odd(numbers, odd))
        await group.spawn(square(odd, squares))
        async for number in squares:
            print(number)


if __name__ == "__main__":
    run(main())
