"""12: `lock.acquire()` that is not yielded, and `release()`.

    RuntimeError: cannot release Lock 'books': task #1 main does not own it, nobody does: it is taken by `yield`, or `await`, of its acquire()
"""
from microthreads import Lock


def main():
    lock = Lock(name="books")
    lock.acquire()
    yield
    lock.release()
