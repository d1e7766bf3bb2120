"""85: `for x in channel`.

    TypeError: a plain `for` (or unpacking) cannot wait for Channel 'jobs' (0/0): write `async for` in an async def, or `while True: value = yield channel.recv()`, which ClosedError ends
"""
from microthreads import Channel


def main():
    yield
    for x in Channel(name="jobs"):
        print(x)
