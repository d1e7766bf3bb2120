"""16: `asyncio.get_running_loop()` in a task.

    RuntimeError: no running event loop
    hint: this is a task of microthreads, where asyncio's loop does not run, and asyncio.get_running_loop cannot work: current_task().kernel is the kernel that runs
"""
import asyncio


async def main():
    asyncio.get_running_loop().call_later(1, print, "hello")
