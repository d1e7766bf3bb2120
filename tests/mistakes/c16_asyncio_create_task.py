"""16: `asyncio.create_task(routine)`.

    RuntimeError: no running event loop
    hint: asyncio's loop does not run under microthreads, so asyncio.create_task cannot work: it is called spawn here, to be yielded or awaited
"""
import asyncio


async def work():
    pass


async def main():
    routine = work()
    try:
        await asyncio.create_task(routine)
    finally:
        routine.close()
