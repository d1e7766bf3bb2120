"""28: `run` of the same generator, twice.

    RuntimeError: cannot start <generator object work at 0x...>: it has already finished; a routine runs once: call work() again for another
"""
from microthreads import run


def work():
    yield


routine = work()
run(routine)
run(routine)
