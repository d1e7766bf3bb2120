"""select: the index says which type the value has."""

from __future__ import annotations

from typing import Any, Literal, assert_type

from microthreads import Channel, Event, Stream, SystemCall, Task, select, sleep


async def several(numbers: Channel[int], words: Channel[str], task: Task[bytes]) -> None:
    assert_type(await select(numbers.recv()), tuple[Literal[0], int])
    assert_type(
        await select(numbers.recv(), words.recv()),
        tuple[Literal[0], int] | tuple[Literal[1], str],
    )
    assert_type(
        await select(numbers.recv(), words.recv(), task),
        tuple[Literal[0], int] | tuple[Literal[1], str] | tuple[Literal[2], bytes],
    )
    assert_type(
        await select(numbers.recv(), words.recv(), task, sleep(1)),
        tuple[Literal[0], int]
        | tuple[Literal[1], str]
        | tuple[Literal[2], bytes]
        | tuple[Literal[3], None],
    )
    won = await select(numbers.recv(), numbers.recv(), words.recv(), words.recv(), sleep(1))
    if won[0] == 4:
        assert_type(won[1], None)
    elif won[0] == 2:
        assert_type(won[1], str)
    six = await select(
        numbers.recv(), numbers.recv(), numbers.recv(), words.recv(), words.recv(), sleep(1)
    )
    if six[0] == 5:
        assert_type(six[1], None)


async def by_match(numbers: Channel[int], stream: Stream) -> None:
    match await select(numbers.recv(), stream.readline(), sleep(1)):
        case 0, number:
            assert_type(number, int)
        case 1, line:
            assert_type(line, bytes)
        case _, nothing:
            assert_type(nothing, None)


async def by_index(numbers: Channel[int], stop: Event) -> None:
    won = await select(numbers.recv(), stop.wait())
    if won[0] == 0:
        assert_type(won[1], int)
    else:
        assert_type(won[1], bool)


async def unpacked(numbers: Channel[int]) -> None:
    index, value = await select(numbers.recv(), sleep(1))
    assert_type(index, Literal[0, 1])
    assert_type(value, int | None)


async def in_a_select(numbers: Channel[int], words: Channel[str]) -> None:
    won = await select(select(numbers.recv(), words.recv()), sleep(1))
    if won[0] == 0:
        assert_type(won[1], tuple[Literal[0], int] | tuple[Literal[1], str])


async def any_number(channels: list[Channel[int]], calls: list[SystemCall[Any]]) -> None:
    assert_type(await select(*(channel.recv() for channel in channels)), tuple[int, int])
    assert_type(await select(*calls), tuple[int, Any])
    n = channels[0]
    assert_type(
        await select(n.recv(), n.recv(), n.recv(), n.recv(), n.recv(), n.recv(), n.recv()),
        tuple[int, int],
    )
