"""89: `with TaskGroup as group`, without the parentheses.

    TypeError: 'type' object does not support the context manager protocol
    hint: that is a class: if an object was meant, call it, as in `with TaskGroup() as group:`
"""
from microthreads import TaskGroup


def main():
    with TaskGroup as group:
        yield group.join()
