"""77: `run(main(), 5)`.

    TypeError: run() takes 1 positional argument but 2 were given
    hint: it is called as run(main, *, clock=None, poller=None, network=None, policy=None, observers=(), on_crash=log_crash, grace=5.0)
"""
from microthreads import run, sleep


def main():
    yield sleep(2)


run(main(), 5)
