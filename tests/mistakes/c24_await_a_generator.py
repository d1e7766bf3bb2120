"""24: `await` of a generator's routine.

    TypeError: object generator can't be used in 'await' expression
    hint: a plain generator cannot be awaited: make it an `async def`, or put `@types.coroutine` above it; in a generator, `yield` it
"""
from microthreads import sleep


def helper():
    yield sleep(0)


async def main():
    await helper()
