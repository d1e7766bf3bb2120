"""94: `microthreads.create_task(routine)`.

    AttributeError: module 'microthreads' has no attribute 'create_task': it is called spawn here, to be yielded or awaited
"""
import microthreads


def work():
    yield


def main():
    yield microthreads.create_task(work())
