# mypy: enable-error-code="unused-awaitable, truthy-bool"
"""Mistakes that both checkers must report, where a program is written.

A line that is not reported makes the checker complain of the comment.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from microthreads import (  # type: ignore[attr-defined]
    Channel,
    Lock,
    Queue,
    Socket,
    Supervisor,
    nonsense,  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnusedImport]  # noqa: F401
    parallel_map,
    run,
    select,
    serve,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import explore


async def number() -> int:
    return 1


async def length(word: str) -> int:
    return len(word)


async def of_a_socket(client: Socket) -> None:
    await client.sendall(b"")


async def forgotten_await(numbers: Channel[int], lock: Lock, queue: Queue[dict[str, int]]) -> None:
    numbers.recv() + 1  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    numbers.recv().bit_length()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    queue.get()["key"]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    spawn(number()).result()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    with lock.acquire():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    with lock:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    value: int = numbers.recv()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(value)
    numbers.send(1)  # type: ignore[unused-awaitable]
    if numbers.recv():  # type: ignore[truthy-bool]
        print()


async def with_for_async_with(numbers: Channel[int]) -> None:
    async with timeout(1):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        await numbers.recv()


async def wrong_values(numbers: Channel[int], words: Channel[str]) -> None:
    await numbers.send("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await parallel_map(length, [1, 2], limit=2)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await select(numbers.recv(), number())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    won = await select(numbers.recv(), words.recv())
    if won[0] == 0:
        won[1].upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def unlooked_at(lock: Lock) -> None:
    with await lock.acquire(timeout=1):  # type: ignore[union-attr]  # pyright: ignore[reportGeneralTypeIssues]
        pass


def wrong_options() -> None:
    run(number(), grace="long")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(number(), clok=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    run(number(), poller="kqueue")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(sleep(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    explore(number, policy=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    explore(number())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_functions() -> Generator[Any, Any, None]:
    yield serve(of_a_socket, "localhost", 0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Supervisor().add(number())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Supervisor().add(length)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Supervisor().add(length, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Supervisor().add(number, restart="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Supervisor("one_by_one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
