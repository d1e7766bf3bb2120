"""30: One generator yielded twice.

    RuntimeError: cannot run <generator object work at 0x...>: it has already finished; a routine runs once: call work() again for another
"""


def work():
    yield


def main():
    routine = work()
    yield routine
    yield routine
