"""A4: `with timeout(1):` in a main without a yield.

    RuntimeError: no task is running in this thread: use microthreads.run(main()), where main has a yield or is an async def; main has no yield, so main() runs at once, as any function does
"""
from microthreads import run, sleep, timeout


def main():
    with timeout(1):
        return sleep(2)


run(main())
