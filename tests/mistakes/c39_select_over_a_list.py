"""39: `select([a, b])`.

    TypeError: select() takes system calls and tasks, and argument 0 is [<Sleep: sleep>, <Sleep: sleep>]: give what is in it one by one, as *calls
"""
from microthreads import select, sleep


def main():
    yield select([sleep(1), sleep(2)])
