"""63: `[(yield recv()) for ...]`.

    SyntaxError: 'yield' inside list comprehension
    hint: a comprehension cannot wait: write a loop, `for ...: results.append((yield ...))`, or have it all done at once by gather() or parallel_map()
"""
from microthreads import sleep


def main():
    results = [(yield sleep(n)) for n in range(3)]
    print(results)
