"""also: `sleep` without an import.

    NameError: name 'sleep' is not defined
    hint: `from microthreads import sleep` is missing
"""
from microthreads import spawn


def work():
    yield sleep(1)


def main():
    yield (yield spawn(work()))
