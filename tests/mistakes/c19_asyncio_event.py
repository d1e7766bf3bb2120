"""19: `await asyncio.Event().wait()`.

    AttributeError: 'NoneType' object has no attribute 'create_future'
    hint: asyncio.Event.wait needs asyncio's loop, which does not run here: use microthreads.Event
"""
import asyncio


async def main():
    await asyncio.Event().wait()
