"""Many clients of an echo server at once, in a process of their own, until told to stop.

Each connects, exchanges some messages, closes, and begins again. A client that is refused,
reset, cut off or answered wrongly is counted, and told. They are asyncio's, so that a fault
of the library cannot hide itself.

    python3 loadclients.py HOST PORT CLIENTS     until the standard input ends

The last line is what came of it, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

MESSAGES = 5
PAUSE = 0.04  # seconds at most between two messages, so that some are always idle


class Load:
    """The clients, and what has happened to them.

    Attributes:
        conversations: How many came to a good end.
        errors: What went wrong with the others.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.conversations = 0
        self.errors: list[str] = []
        self.stopping = False

    async def client(self, number: int) -> None:
        """Have one conversation after the other."""
        chance = random.Random(number)
        while not self.stopping:
            try:
                async with asyncio.timeout(30):
                    await self.conversation(chance)
                self.conversations += 1
            except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
                self.errors.append(repr(error))
                await asyncio.sleep(0.1)

    async def conversation(self, chance: random.Random) -> None:
        """Connect, exchange some messages, close."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            for _ in range(MESSAGES):
                message = chance.randbytes(chance.randrange(1, 2000))
                writer.write(message)
                if await reader.readexactly(len(message)) != message:
                    raise ValueError("the echo is not what was sent")
                await asyncio.sleep(chance.random() * PAUSE)
        finally:
            writer.close()
            await writer.wait_closed()


async def main(host: str, port: str, clients: str) -> None:
    """Run the clients until the standard input ends."""
    load = Load(host, int(port))
    tasks = [asyncio.create_task(load.client(number)) for number in range(int(clients))]
    while load.conversations < len(tasks) and not load.errors:
        await asyncio.sleep(0.01)
    print("busy", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    load.stopping = True
    await asyncio.gather(*tasks)
    told: dict[str, Any] = {"conversations": load.conversations, "errors": load.errors}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
