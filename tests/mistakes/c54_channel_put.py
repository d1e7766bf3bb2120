"""54: `channel.put(item)`.

    AttributeError: 'Channel' object has no attribute 'put'
    hint: it is called send here, to be yielded or awaited
"""
from microthreads import Channel


def main():
    channel = Channel(capacity=1)
    yield channel.put(1)
