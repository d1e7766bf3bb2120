"""E2: `spawn(work(), "name")`.

    TypeError: spawn() takes 1 positional argument but 2 were given
    hint: it is called as spawn(routine, *, name=None, daemon=False): give it a routine, as in spawn(work(1, 2)), and its options by name
"""
from microthreads import spawn


async def work():
    pass


async def main():
    routine = work()
    try:
        await spawn(routine, "my name")
    finally:
        routine.close()
