"""also: A sum with a routine that is not yielded.

    TypeError: unsupported operand type(s) for +: 'generator' and 'int'
    hint: if that is a routine, it has not run, and is no result yet: `yield` it in a generator, `await` it in an async def
"""
from microthreads import sleep


def helper():
    yield sleep(0)
    return 3


def main():
    yield
    print(helper() + 1)
