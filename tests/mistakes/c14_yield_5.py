"""14: `yield 5`.

    TypeError: task #1 main yielded 0, which is no system call, task or routine: a routine gives its result by `return`, and others along the way by `yield channel.send(value)`
"""


def main():
    for number in range(5):
        yield number
