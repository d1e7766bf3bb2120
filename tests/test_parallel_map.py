"""parallel_map: one function over many items, so many at a time, the results in order."""

from __future__ import annotations

import gc
import itertools
import weakref

import pytest
from helpers import coroutine_of, errors_of, vrun
from hypothesis import given, settings
from hypothesis import strategies as st

from microthreads import (
    Cancelled,
    Channel,
    join,
    move_on_after,
    now,
    parallel_map,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)


class Work:
    """Functions to map: each item is how long it takes; and the books on them."""

    def __init__(self):
        self.running = 0
        self.most = 0
        self.begun = []
        self.ended = []
        self.cancelled = []

    def begin(self, item):
        self.begun.append(item)
        self.running += 1
        self.most = max(self.most, self.running)

    def end(self, item):
        self.running -= 1
        self.ended.append(item)

    def generator(self, item):
        self.begin(item)
        try:
            yield sleep(item)
        except Cancelled:
            self.cancelled.append(item)
            raise
        finally:
            self.end(item)
        return item * 10

    async def coroutine(self, item):
        return await coroutine_of(self.generator(item))


every_function = pytest.mark.parametrize("function", ["generator", "coroutine"])


def noted(items, taken):
    """The items, with a note of each that was taken."""
    for item in items:
        taken.append(item)
        yield item


# ---- the list of results


@every_function
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_results_come_in_the_order_of_the_items(vrun, function, limit):
    work, items = Work(), [3, 1, 2, 0, 5, 4]

    def main():
        return (yield parallel_map(getattr(work, function), items, limit=limit))

    assert vrun(main()) == [item * 10 for item in items]
    assert sorted(work.begun) == sorted(items)


def test_it_can_be_yielded_yielded_from_awaited_spawned_and_run(vrun):
    def made():
        return parallel_map(Work().generator, [2, 1], limit=2)

    def main():
        return [
            (yield made()),
            (yield from made()),
            (yield awaiting()),
            (yield (yield spawn(made()))),
            (yield join((yield spawn(made())))),
        ]

    async def awaiting():
        return await made()

    assert vrun(main()) == [[20, 10]] * 5
    assert vrun(made()) == [20, 10]


@every_function
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_never_more_than_limit_run_at_once_and_so_many_do(vrun, function, limit):
    work = Work()

    def main():
        yield parallel_map(getattr(work, function), [1] * 20, limit=limit)
        return now()

    assert vrun(main()) == 20 / limit
    assert work.most == limit


def test_a_new_item_is_begun_as_soon_as_any_other_has_ended(vrun):
    work = Work()

    def main():
        yield parallel_map(work.generator, [10, 1, 1, 1, 1], limit=2)
        return now()

    assert vrun(main()) == 10
    assert work.ended == [1, 1, 1, 1, 10]


def test_items_are_taken_when_there_is_a_task_for_them(vrun):
    taken, seen = [], []

    def function(item):
        seen.append((item, list(taken)))
        yield sleep(1)

    def main():
        yield parallel_map(function, noted(range(6), taken), limit=2)

    vrun(main())
    for item, had in seen:
        # One may be in the taker's hand while it waits for a task that is free.
        assert len(had) <= item + 2, seen


def test_no_item_is_taken_before_it_is_yielded(vrun):
    taken = []

    def main():
        routine = parallel_map(Work().generator, noted([1], taken), limit=1)
        yield sleep(1)
        before = list(taken)
        yield routine
        return before

    assert vrun(main()) == []


def test_no_items_give_no_results(vrun):
    def main():
        return (yield parallel_map(Work().generator, [], limit=3)), now()

    assert vrun(main()) == ([], 0)


@pytest.mark.parametrize("items", [(1, 2), {1: "a", 2: "b"}, "12", iter([1, 2]), range(1, 3)])
def test_any_iterable_will_do(vrun, items):
    def main():
        return (yield parallel_map(lambda item: int(item) * 10, items, limit=3))

    assert vrun(main()) == [10, 20]


def test_plain_functions_can_be_mapped(vrun):
    def main():
        return (yield parallel_map(abs, [-1, 2, -3], limit=2))

    assert vrun(main()) == [1, 2, 3]


@pytest.mark.parametrize("result", [None, 0, (), "text", [1], KeyError("returned")])
def test_a_plain_function_may_return_anything(vrun, result):
    def main():
        return (yield parallel_map(lambda item: result, [1, 2], limit=2))

    got = vrun(main())
    assert got[0] is result
    assert got[1] is result


def test_a_function_may_return_routines_for_some_items_only(vrun):
    def function(item):
        return Work().generator(item) if item % 2 else item

    def main():
        return (yield parallel_map(function, [1, 2, 3, 4], limit=2))

    assert vrun(main()) == [10, 2, 30, 4]


def test_a_function_may_map_in_parallel_itself(vrun):
    def row(count):
        return parallel_map(Work().generator, range(1, count + 1), limit=2)

    def main():
        return (yield parallel_map(row, [1, 2, 3], limit=2))

    assert vrun(main()) == [[10], [10, 20], [10, 20, 30]]


def test_ten_thousand_items_pass_through_ten_tasks(vrun):
    work = Work()

    def main():
        return (yield parallel_map(work.generator, (n % 3 for n in range(10_000)), limit=10))

    assert vrun(main()) == [n % 3 * 10 for n in range(10_000)]
    assert work.most == 10


@given(
    items=st.lists(st.integers(0, 5), max_size=20),
    limit=st.integers(1, 6),
    stream=st.booleans(),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_it_is_map_whatever_the_items_and_the_limit(items, limit, stream):
    work = Work()

    async def streamed():
        async with parallel_map(work.coroutine, items, limit=limit) as results:
            return [result async for result in results]

    def collected():
        return (yield parallel_map(work.coroutine, items, limit=limit))

    main = streamed() if stream else collected()
    assert vrun(main) == [item * 10 for item in items]
    assert work.most <= limit
    assert work.begun == items


# ---- what is refused


@pytest.mark.parametrize("limit", [0, -1, -100])
def test_a_limit_of_less_than_one_is_refused(limit):
    with pytest.raises(ValueError):
        parallel_map(abs, [1], limit=limit)


@pytest.mark.parametrize("limit", [None, 1.5, "2", float("inf")])
def test_a_limit_that_is_no_integer_is_refused(limit):
    with pytest.raises(TypeError):
        parallel_map(abs, [1], limit=limit)


def test_a_limit_must_be_given_by_name():
    with pytest.raises(TypeError):
        parallel_map(abs, [1])
    with pytest.raises(TypeError):
        parallel_map(abs, [1], 2)


@pytest.mark.parametrize("function", [None, 5, "abs"])
def test_what_cannot_be_called_is_refused(function):
    with pytest.raises(TypeError):
        parallel_map(function, [1], limit=1)


def test_what_cannot_be_iterated_is_refused(vrun):
    def main():
        with pytest.raises((TypeError, ExceptionGroup)):
            yield parallel_map(abs, 5, limit=1)

    vrun(main())


# ---- failures


@every_function
def test_a_call_that_fails_cancels_the_others(vrun, function):
    work, taken, log = Work(), [], []

    def failing(item):
        if item == "bad":
            return self_destruct()
        return getattr(work, function)(item)

    def self_destruct():
        yield sleep(2)
        raise KeyError("bad")

    def main():
        try:
            yield parallel_map(failing, noted([1, "bad", 9, 9, 9], taken), limit=3)
        except* KeyError as caught:
            log.append((errors_of(caught), now()))

    vrun(main())
    assert log == [(["KeyError('bad')"], 2)]
    assert work.cancelled == [9, 9]
    assert len(taken) <= 5


def test_a_function_that_raises_when_it_is_called_fails_the_map(vrun):
    work = Work()

    def failing(item):
        if item == 3:
            raise KeyError("called")
        return work.generator(item)

    def main():
        yield parallel_map(failing, [1, 2, 3, 4, 5], limit=2)

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError('called')"]
    assert 5 not in work.begun


def test_all_failures_come_out_together(vrun):
    def failing(item):
        yield sleep(1)
        raise KeyError(item)

    def main():
        yield parallel_map(failing, [1, 2, 3], limit=2)

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main())
    assert errors_of(caught.value) == ["KeyError(1)", "KeyError(2)"]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_iterable_that_fails_cancels_the_calls_and_its_error_comes_out(vrun, after):
    work, log = Work(), []

    def failing():
        yield from [9] * after
        raise KeyError("iterable")

    def main():
        try:
            yield parallel_map(work.generator, failing(), limit=5)
        except* KeyError as caught:
            log.append((errors_of(caught), now()))

    vrun(main())
    assert log == [(["KeyError('iterable')"], 0)]
    assert work.running == 0
    assert 90 not in work.ended


def test_failures_are_not_reported_as_crashes_and_name_the_place_of_the_call(vrun):
    crashes = []

    def failing(item):
        raise KeyError(item)
        yield

    def main():
        with pytest.raises(ExceptionGroup) as caught:
            yield parallel_map(failing, [1], limit=1)
        return "\n".join(caught.value.exceptions[0].__notes__)

    notes = vrun(main(), on_crash=crashes.append)
    place = test_failures_are_not_reported_as_crashes_and_name_the_place_of_the_call
    assert f"{__file__}:{place.__code__.co_firstlineno + 9}" in notes
    assert crashes == []


def test_a_failure_waits_for_the_clean_up_of_the_others(vrun):
    log = []

    def function(item):
        if item == "bad":
            yield sleep(1)
            raise KeyError
        try:
            yield sleep(99)
        finally:
            with shield(99):
                yield sleep(4)
            log.append(("cleaned up", now()))

    def main():
        try:
            yield parallel_map(function, ["good", "bad"], limit=2)
        except* KeyError:
            log.append(("caught", now()))

    vrun(main())
    assert log == [("cleaned up", 5), ("caught", 5)]


# ---- cancel


@every_function
def test_cancelling_the_map_cancels_the_calls_and_waits_for_them(vrun, function):
    work, taken = Work(), []

    def main():
        task = yield spawn(
            parallel_map(getattr(work, function), noted(itertools.repeat(9), taken), limit=3)
        )
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield task
        return work.running, work.cancelled, len(taken) <= 4

    assert vrun(main()) == (0, [9, 9, 9], True)


def test_a_time_limit_ends_the_map(vrun):
    work = Work()

    def main():
        with pytest.raises(TimeoutError):
            with timeout(1):
                yield parallel_map(work.generator, [5, 5, 5], limit=2)
        return now(), work.running, work.begun

    assert vrun(main()) == (1, 0, [5, 5])


# ---- the stream


@every_function
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_the_stream_gives_the_results_in_order(vrun, function, limit):
    work, items = Work(), [3, 1, 2, 0, 5, 4]

    async def main():
        async with parallel_map(getattr(work, function), items, limit=limit) as results:
            return [result async for result in results]

    assert vrun(main()) == [item * 10 for item in items]
    assert work.most <= limit


def test_the_stream_gives_each_result_as_soon_as_it_and_those_before_it_are_there(vrun):
    async def main():
        log = []
        async with parallel_map(Work().coroutine, [1, 4, 2], limit=3) as results:
            async for result in results:
                log.append((result, now()))
        return log

    assert vrun(main()) == [(10, 1), (40, 4), (20, 4)]


@pytest.mark.parametrize("limit", [1, 2, 4])
@pytest.mark.parametrize("pause", [0, 1, 3])
def test_no_more_than_limit_are_begun_and_not_received(vrun, limit, pause):
    work, taken, received, worst = Work(), [], [], []

    async def main():
        async with parallel_map(
            work.coroutine, noted([1, 0, 2, 0, 1, 3, 0, 0, 1] * 2, taken), limit=limit
        ) as results:
            async for result in results:
                received.append(result)
                worst.append((len(work.begun) - len(received), len(taken) - len(received)))
                await sleep(pause)
                worst.append((len(work.begun) - len(received), len(taken) - len(received)))

    vrun(main())
    assert len(received) == 18
    assert max(begun for begun, _ in worst) <= limit
    assert max(ahead for _, ahead in worst) <= limit + 1


def test_calls_go_on_while_a_result_is_worked_on(vrun):
    async def main():
        async with parallel_map(Work().coroutine, [2] * 6, limit=3) as results:
            async for _ in results:
                await sleep(1)
        return now()

    # Six results, of which the first takes 2 seconds, and then a second of work for each.
    assert vrun(main()) <= 9


def test_an_infinite_iterable_can_be_streamed_and_left(vrun):
    work, taken = Work(), []

    async def main():
        got = []
        async with parallel_map(
            work.coroutine, noted(itertools.count(1), taken), limit=3
        ) as results:
            async for result in results:
                got.append(result)
                if len(got) == 5:
                    break
        return got, work.running, len(taken), now()

    got, running, taken_count, at = vrun(main())
    assert got == [10, 20, 30, 40, 50]
    assert running == 0
    assert taken_count <= 5 + 3 + 1
    assert at < 50


def test_breaking_out_waits_for_the_clean_up_of_the_calls(vrun):
    log = []

    async def slow(item):
        try:
            await sleep(item)
        finally:
            with shield(99):
                await sleep(2)
            log.append((item, now()))

    async def main():
        async with parallel_map(slow, [1, 50, 60], limit=3) as results:
            async for _ in results:
                break
        log.append(("end", now()))

    vrun(main())
    assert log == [(1, 3), (50, 5), (60, 5), ("end", 5)]


def test_leaving_the_stream_before_the_first_result_cancels_all(vrun):
    work = Work()

    async def main():
        async with parallel_map(work.coroutine, [5, 5, 5], limit=2):
            await sleep(1)
        return now(), work.running

    assert vrun(main()) == (1, 0)


def test_an_error_in_the_body_cancels_the_calls_and_comes_out(vrun):
    work = Work()

    async def main():
        async with parallel_map(work.coroutine, [1, 9, 9], limit=3) as results:
            async for _ in results:
                raise KeyError("body")

    with pytest.raises((KeyError, ExceptionGroup)) as caught:
        vrun(main())
    assert "KeyError('body')" in repr(caught.value)
    assert work.running == 0
    assert work.cancelled == [9, 9]


@pytest.mark.parametrize("bad", [0, 1, 3])
def test_a_failing_call_fails_the_stream(vrun, bad):
    crashes, got, work = [], [], Work()

    async def function(item):
        if item == bad:
            raise KeyError(item)
        return await work.coroutine(item)

    async def main():
        async with parallel_map(function, itertools.count(), limit=2) as results:
            async for result in results:
                got.append(result)

    with pytest.raises(ExceptionGroup) as caught:
        vrun(main(), on_crash=crashes.append)
    assert errors_of(caught.value) == [f"KeyError({bad})"]
    assert got == [item * 10 for item in range(bad)][: len(got)]
    assert work.running == 0
    assert crashes == []


def test_a_failing_iterable_fails_the_stream(vrun):
    work = Work()

    def items():
        yield 1
        yield 9
        raise KeyError("iterable")

    async def main():
        async with parallel_map(work.coroutine, items(), limit=4) as results:
            async for _ in results:
                pass

    with pytest.raises((KeyError, ExceptionGroup)) as caught:
        vrun(main())
    assert "KeyError('iterable')" in repr(caught.value)
    assert work.running == 0


def test_a_stream_of_nothing_ends_at_once(vrun):
    async def main():
        async with parallel_map(Work().coroutine, [], limit=4) as results:
            return [result async for result in results], now()

    assert vrun(main()) == ([], 0)


def test_a_stream_that_has_ended_gives_nothing_more(vrun):
    async def main():
        async with parallel_map(Work().coroutine, [1, 2], limit=4) as results:
            first = [result async for result in results]
            second = [result async for result in results]
        return first, second

    assert vrun(main()) == ([10, 20], [])


def test_a_stream_can_be_iterated_in_two_goes(vrun):
    async def main():
        async with parallel_map(Work().coroutine, [1, 2, 3, 4], limit=2) as results:
            first = []
            async for result in results:
                first.append(result)
                if len(first) == 2:
                    break
            return first, [result async for result in results]

    assert vrun(main()) == ([10, 20], [30, 40])


def test_plain_functions_can_be_streamed(vrun):
    async def main():
        async with parallel_map(abs, itertools.count(-3), limit=2) as results:
            got = []
            async for result in results:
                got.append(result)
                if result == 0:
                    return got

    assert vrun(main()) == [3, 2, 1, 0]


def test_cancelling_the_task_of_a_stream_cancels_the_calls_and_waits_for_them(vrun):
    work = Work()

    async def streaming():
        async with parallel_map(work.coroutine, itertools.repeat(9), limit=3) as results:
            async for _ in results:
                pass

    def main():
        task = yield spawn(streaming())
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield task
        return work.running, work.cancelled

    assert vrun(main()) == (0, [9, 9, 9])


def test_a_time_limit_around_a_result_loses_no_result(vrun):
    async def main():
        got = []
        async with parallel_map(Work().coroutine, [3, 1, 2], limit=3) as results:
            while len(got) < 3:
                with move_on_after(0.7):
                    got.append(await anext(results))
        return got

    assert vrun(main()) == [30, 10, 20]


def test_a_time_limit_around_a_stream_ends_it(vrun):
    work = Work()

    async def main():
        got = []
        with move_on_after(3.5) as scope:
            async with parallel_map(work.coroutine, itertools.repeat(1), limit=1) as results:
                async for result in results:
                    got.append(result)
        return got, scope.expired, work.running, now()

    assert vrun(main()) == ([10, 10, 10], True, 0, 3.5)


def test_a_map_is_used_once(vrun):
    """As a routine or as a stream, but not as both or twice."""

    def main():
        mapping = parallel_map(abs, [1], limit=1)
        yield mapping
        with pytest.raises((RuntimeError, TypeError)):
            yield mapping

    vrun(main())


def test_a_stream_cannot_be_entered_twice(vrun):
    async def main():
        mapping = parallel_map(abs, [1], limit=1)
        async with mapping as results:
            got = [result async for result in results]
        with pytest.raises(RuntimeError):
            async with mapping:
                pass
        return got

    assert vrun(main()) == [1]


@pytest.mark.forgets
def test_a_map_that_is_made_and_thrown_away_gives_no_warning(recwarn):
    taken = []
    parallel_map(Work().coroutine, noted([1], taken), limit=1)
    gc.collect()
    assert not recwarn.list
    assert taken == []


def test_a_stream_keeps_nothing_of_the_results_it_has_given(vrun):
    class Thing:
        pass

    watched, alive = [], []

    def function(item):
        thing = Thing()
        watched.append(weakref.ref(thing))
        yield sleep(item)
        return thing

    async def main():
        async with parallel_map(function, [1, 1, 1, 1, 50], limit=2) as results:
            for _ in range(4):
                await anext(results)
            await sleep(1)
            gc.collect()
            alive.extend(ref() for ref in watched[:4])

    vrun(main())
    assert alive == [None] * 4


def test_a_function_may_wait_on_anything(vrun):
    def main():
        channel = Channel()

        def ask(item):
            index, value = yield select(channel.recv(), sleep(item))
            return value if index == 0 else "late"

        task = yield spawn(parallel_map(ask, [5, 1, 5], limit=3))
        yield sleep(2)
        yield channel.send("a")
        yield channel.send("b")
        return (yield task)

    assert vrun(main()) == ["a", "late", "b"]
