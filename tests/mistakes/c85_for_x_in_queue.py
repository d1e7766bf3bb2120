"""85: `for x in queue`.

    TypeError: a plain `for` (or unpacking) cannot wait for Queue 'jobs' (0): write `async for` in an async def, or `while True: item = yield queue.get()`, which ShutDown ends
"""
from microthreads import Queue


def main():
    yield
    for x in Queue(name="jobs"):
        print(x)
