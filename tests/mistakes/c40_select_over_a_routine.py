"""40: `select(work(), sleep(1))`.

    TypeError: select() takes system calls and tasks, and argument 0 is <generator object work at 0x...>: give the task that `yield spawn(work())` returns, or use race()
"""
from microthreads import select, sleep


def work():
    yield sleep(2)


def main():
    yield select(work(), sleep(1))
