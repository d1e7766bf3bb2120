"""16: `asyncio.create_task(routine)`.

    RuntimeError: no running event loop
    hint: this is a task of microthreads, where asyncio's loop does not run, and asyncio.create_task cannot work: it is called spawn here, to be yielded or awaited
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
