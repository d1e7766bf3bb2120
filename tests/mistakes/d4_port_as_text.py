"""D4: `open_connection(host, "80")`.

    TypeError: open_connection() needs a port that is an integer, got '80'
"""
from microthreads import open_connection


def main():
    stream = yield open_connection("127.0.0.1", "80")
    stream.close()
