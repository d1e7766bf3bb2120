"""76: `run(main(), timeout=1)`.

    TypeError: run() has no option timeout: it has clock, poller, network, policy, observers, on_crash, grace; a time limit is a block in main, `with timeout(seconds):`
"""
from microthreads import run, sleep


def main():
    yield sleep(2)


run(main(), timeout=1)
