"""D5: `for line in stream` in a generator.

    TypeError: a plain `for` (or unpacking) cannot wait for stream over socket 3: write `async for` in an async def, or `while line := (yield stream.readline()):`
"""
from microthreads import Socket, Stream
import socket


def main():
    yield
    near, far = socket.socketpair()
    with far, Stream(Socket(near)) as stream:
        for line in stream:
            print(line)
