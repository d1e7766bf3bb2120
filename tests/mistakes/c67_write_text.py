"""67: `stream.write("text")`.

    TypeError: memoryview: a bytes-like object is required, not 'str'
    hint: if it was for a connection, that carries bytes, not text: `write(text.encode())`
"""
import socket

from microthreads import Socket, Stream


def main():
    near, far = socket.socketpair()
    with far, Stream(Socket(near)) as stream:
        yield stream.write("hello")
