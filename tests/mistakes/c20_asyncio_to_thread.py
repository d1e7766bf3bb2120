"""20: `await asyncio.to_thread(function)`.

    RuntimeError: no running event loop
    hint: asyncio's loop does not run under microthreads, so asyncio.to_thread cannot work: `yield wait_future(executor.submit(function))` waits for a thread
"""
import asyncio


async def main():
    await asyncio.to_thread(print, "hello")
