"""66: `with open_connection(...)`.

    TypeError: 'generator' object does not support the context manager protocol
    hint: if that is a routine, it has not run: `with (yield routine) as ...:` in a generator, `with await routine as ...:` in an async def
"""
from microthreads import open_connection


def main():
    with open_connection("127.0.0.1", 80) as stream:
        print((yield stream.readline()))
