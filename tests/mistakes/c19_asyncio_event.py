"""19: `await asyncio.Event().wait()`.

    AttributeError: 'NoneType' object has no attribute 'create_future'
    hint: this is a task of microthreads, where asyncio's loop does not run, and asyncio.Event.wait cannot work: use microthreads.Event
"""
import asyncio


async def main():
    await asyncio.Event().wait()
