"""16: `asyncio.create_task(routine)`.

    RuntimeError: no running event loop
    hint: asyncio.create_task needs asyncio's loop, which does not run here: it is called spawn here, to be yielded or awaited
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
