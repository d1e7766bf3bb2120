"""29: `spawn` of the same generator, twice.

    RuntimeError: cannot start <generator object work at 0x...>: it is run by task #2 work already; a routine runs once: call work() again for another
"""
from microthreads import spawn


def work():
    yield


def main():
    routine = work()
    yield spawn(routine)
    yield spawn(routine)
