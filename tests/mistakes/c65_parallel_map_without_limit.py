"""65: `parallel_map(fn, items)` without `limit`.

    TypeError: parallel_map() missing 1 required keyword-only argument: 'limit'
    hint: it is called as parallel_map(fn, items, *, limit); limit: How many tasks at most.
"""
from microthreads import parallel_map


def main():
    yield parallel_map(str, range(3))
