"""also: `stream = open_connection(...)` without yield.

    AttributeError: 'generator' object has no attribute 'write'
    hint: open_connection() made a routine, which has not run: `yield` or `await` it first
"""
from microthreads import open_connection


def main():
    stream = open_connection("127.0.0.1", 80)
    yield stream.write(b"hello")
