"""06: `spawn(work, 1, 2)`.

    TypeError: spawn() takes 1 positional argument but 3 were given
    hint: it is called as spawn(routine, *, name=None, daemon=False): give it a routine, as in spawn(work(1, 2)), and its options by name
"""
from microthreads import spawn


def work(a, b):
    yield


def main():
    yield spawn(work, 1, 2)
