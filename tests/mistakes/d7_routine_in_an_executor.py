"""D7: A generator function given to an executor.

    TypeError: the future's result is <generator object work at 0x...>, which has not run: an executor calls functions, and runs no routines; `yield work()` in a task, or give it a plain def (one that returns an iterator: in a tuple)
"""
from concurrent.futures import ThreadPoolExecutor

from microthreads import sleep, wait_future


def work():
    yield sleep(1)


def main():
    with ThreadPoolExecutor(1) as pool:
        print((yield wait_future(pool.submit(work))))
