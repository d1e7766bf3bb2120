"""73: `next(...)` that finds nothing, in a routine.

    RuntimeError: generator raised StopIteration
    hint: a `next()` in it found nothing, and its StopIteration cannot end a routine: `next(iterator, None)` returns None then
"""


def main():
    yield
    print(next(iter([])))
