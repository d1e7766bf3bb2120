"""17: `await asyncio.sleep(1)`.

    RuntimeError: no running event loop
    hint: asyncio.sleep needs asyncio's loop, which does not run here: use microthreads.sleep
"""
import asyncio


async def main():
    await asyncio.sleep(1)
