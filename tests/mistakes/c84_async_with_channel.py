"""84: `async with channel`.

    TypeError: `async with` is not needed for Channel 'jobs' (0/0): a plain `with` closes it
"""
from microthreads import Channel


async def main():
    async with Channel(name="jobs"):
        pass
