"""A4: A main whose only `sleep` is not yielded.

    TypeError: run() needs a generator or coroutine, such as main() where main has a yield or is an async def; got None: did its yields get lost? A function without one just runs
"""
from microthreads import run, sleep


def main():
    sleep(1)


run(main())
