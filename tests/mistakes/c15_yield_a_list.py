"""15: `yield [a, b]`.

    TypeError: task #1 main yielded [<Sleep: sleep>, <Sleep: sleep>], which is no system call, task or routine: yield them one by one; gather(*routines) runs several at once
"""
from microthreads import sleep


def main():
    yield [sleep(1), sleep(2)]
