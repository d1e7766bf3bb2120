"""16: `asyncio.get_running_loop()` in a task.

    RuntimeError: no running event loop
    hint: asyncio.get_running_loop needs asyncio's loop, which does not run here: current_task().kernel is the kernel that runs
"""
import asyncio


async def main():
    asyncio.get_running_loop().call_later(1, print, "hello")
