"""17: `await asyncio.sleep(1)`.

    RuntimeError: no running event loop
    hint: this is a task of microthreads, where asyncio's loop does not run, and asyncio.sleep cannot work: use microthreads.sleep
"""
import asyncio


async def main():
    await asyncio.sleep(1)
