"""75: `wait_future(function)`.

    TypeError: wait_future() needs a concurrent.futures.Future, got <built-in function sleep>: give it executor.submit(sleep, ...)
"""
import time

from microthreads import wait_future


def main():
    yield wait_future(time.sleep)
