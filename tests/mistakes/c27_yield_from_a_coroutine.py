"""27: `yield from` a coroutine, in a generator.

    TypeError: cannot 'yield from' a coroutine object in a non-coroutine generator
    hint: `yield` takes a coroutine as well as a generator: write `yield` for `yield from`
"""
from microthreads import sleep


async def helper():
    await sleep(0)


def main():
    routine = helper()
    try:
        yield from routine
    finally:
        routine.close()
