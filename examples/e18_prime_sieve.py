"""A sieve for primes: a chain of tasks, one more for each prime.

The first value that comes out of the chain has gone through all sieves, so it is
prime. It gets a sieve of its own, put at the end, that lets none of its multiples
pass. (McIlroy's, of 1968; a classic of every language with channels since.)

Try: ask for more than ten, with `python3 -m examples.e18_prime_sieve 5000`. How
many tasks are that? Press Ctrl-C on the way. Without `daemon`, how does it end?
"""

import sys

from examples import Routine
from microthreads import Channel, run, spawn


def count(numbers: Channel[int]) -> Routine[None]:
    number = 2
    while True:
        yield numbers.send(number)
        number += 1


def sieve(prime: int, source: Channel[int], out: Channel[int]) -> Routine[None]:
    while True:
        number = yield source.recv()
        if number % prime:
            yield out.send(number)


def main(how_many: int) -> Routine[None]:
    end: Channel[int] = Channel()
    yield spawn(count(end), daemon=True)
    for _ in range(how_many):
        prime = yield end.recv()
        print(prime, flush=True)
        source, end = end, Channel()
        yield spawn(sieve(prime, source, end), name=f"sieve {prime}", daemon=True)


if __name__ == "__main__":
    run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
