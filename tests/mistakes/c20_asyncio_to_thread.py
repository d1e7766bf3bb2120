"""20: `await asyncio.to_thread(function)`.

    RuntimeError: no running event loop
    hint: asyncio.to_thread needs asyncio's loop, which does not run here: `yield wait_future(executor.submit(function))` waits for a thread
"""
import asyncio


async def main():
    await asyncio.to_thread(print, "hello")
