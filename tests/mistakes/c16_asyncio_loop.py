"""16: `asyncio.get_running_loop()` in a task.

    RuntimeError: no running event loop
    hint: asyncio's loop does not run under microthreads, so asyncio.get_running_loop cannot work: current_task().kernel is the kernel that runs
"""
import asyncio


async def main():
    asyncio.get_running_loop().call_later(1, print, "hello")
