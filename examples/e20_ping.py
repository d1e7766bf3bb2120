"""A hundred hosts asked at once whether they are there, by a TCP connect to each.

A `Socket` wraps a socket of the standard library, and waits without keeping the
others waiting. `parallel_map` has up to fifty tasks at work, and gives the results
in the order of the addresses. All "hosts" are ports of this machine: one in three
listens, and the rest are taken, so that nobody else can listen there.

Try: a limit of 1. Real addresses: what does a host look like that does not answer
at all, and what does the time limit do then?
"""

import socket
from contextlib import ExitStack

from examples import Routine
from microthreads import Socket, parallel_map, run, timeout

Address = tuple[str, int]


def ping(address: Address) -> Routine[str]:
    with Socket(socket.socket()) as connection:
        try:
            with timeout(1):
                yield connection.connect(address)
        except TimeoutError:
            return "?"
        except OSError:
            return "."
    return "+"


def hosts(stack: ExitStack) -> list[Address]:
    """A hundred addresses, of which every third one listens until the stack is closed."""
    addresses = []
    for number in range(100):
        host = stack.enter_context(socket.socket())
        host.bind(("127.0.0.1", 0))
        if number % 3 == 0:
            host.listen()
        addresses.append(host.getsockname())
    return addresses


def main() -> Routine[None]:
    with ExitStack() as stack:
        answers = yield parallel_map(ping, hosts(stack), limit=50)
    print("".join(answers))
    print(answers.count("+"), "open,", answers.count("."), "closed")


if __name__ == "__main__":
    run(main())
