"""The twin of ../e20_ping.py: fifty threads, for as many hosts at once."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from examples.e20_ping import Address, hosts


def ping(address: Address) -> str:
    with socket.socket() as connection:
        connection.settimeout(1)
        try:
            connection.connect(address)
        except TimeoutError:
            return "?"
        except OSError:
            return "."
    return "+"


def main() -> None:
    with ExitStack() as stack, ThreadPoolExecutor(max_workers=50) as pool:
        answers = list(pool.map(ping, hosts(stack)))
    print("".join(answers))
    print(answers.count("+"), "open,", answers.count("."), "closed")


if __name__ == "__main__":
    main()
