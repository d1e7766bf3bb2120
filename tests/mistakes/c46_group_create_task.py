"""46: `group.create_task(work())`.

    AttributeError: 'TaskGroup' object has no attribute 'create_task'
    hint: it is called spawn here, to be yielded or awaited
"""
from microthreads import TaskGroup


def work():
    yield


def main():
    with TaskGroup() as group:
        yield group.create_task(work())
        yield group.join()
