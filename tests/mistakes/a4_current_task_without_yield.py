"""A4: `current_task()` in a main without a yield.

    RuntimeError: no task is running in this thread: use microthreads.run(main()), where main has a yield or is an async def; main has no yield, so main() runs at once, as any function does
"""
from microthreads import current_task, run


def main():
    print(current_task())


run(main())
