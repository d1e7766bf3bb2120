"""17: `await asyncio.sleep(1)`.

    RuntimeError: no running event loop
    hint: asyncio's loop does not run under microthreads, so asyncio.sleep cannot work: use microthreads.sleep
"""
import asyncio


async def main():
    await asyncio.sleep(1)
