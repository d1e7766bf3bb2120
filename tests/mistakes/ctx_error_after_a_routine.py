"""ctx: An error after `yield helper()`.

    ZeroDivisionError: division by zero
"""
from microthreads import sleep


def helper():
    yield sleep(0)
    return 3


def main():
    x = yield helper()
    print(x / 0)
