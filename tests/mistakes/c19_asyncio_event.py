"""19: `await asyncio.Event().wait()`.

    AttributeError: 'NoneType' object has no attribute 'create_future'
    hint: asyncio's loop does not run under microthreads, so asyncio.Event.wait cannot work: use microthreads.Event
"""
import asyncio


async def main():
    await asyncio.Event().wait()
