"""95: `from microthreads import wait_for`.

    ImportError: cannot import name 'wait_for' from 'microthreads': a time limit is a block, `with timeout(seconds):`, around what is yielded
"""
from microthreads import sleep, wait_for


async def main():
    await wait_for(sleep(10), 1)
