"""48: `yield timeout(1)`.

    TypeError: task #1 main yielded <microthreads.timeouts.timeout object at 0x...>, which is no system call, task or routine: it is a block, `with timeout(1):`, around what is to be yielded
"""
from microthreads import sleep, timeout


def main():
    yield timeout(1)
    yield sleep(2)
