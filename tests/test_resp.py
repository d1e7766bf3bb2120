"""The cache's protocol: commands are the same wherever they are cut, and garbage ends."""

from __future__ import annotations

import time

import pytest
from helpers import assert_ten_times_as_many_cost_about_ten_times_as_much
from hypothesis import given
from hypothesis import strategies as st

from examples.servers.cache.globs import matcher
from examples.servers.cache.replies import THREE, TWO, array, bulk, bulks, error, integer, simple
from examples.servers.cache.resp import LINE, Parser, unescaped, words

SMALL = 8000  # a parser for values of up to so many bytes never takes the quick way

WORD = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"", b"\r\n", b"$3\r\nGET\r\n", b"*1\r\n", b"x" * 1023, b"y" * 1024]),
)
COMMAND = st.lists(WORD, min_size=1, max_size=5)


def fed(data, *, step=None, **options):
    """All commands in `data`, fed in pieces of so many bytes, and the error."""
    parser, commands = Parser(**options), []
    step = step or max(1, len(data))
    for start in range(0, len(data), step):
        commands += parser.feed(data[start : start + step])
    return commands, parser.error


MIXED = (
    bulks([b"SET", b"key", b"va\r\nlue"])
    + b"PING\r\n"
    + b'set a "b c"\n'
    + b"\r\n*0\r\n*-1\r\n"
    + bulks([b"GET", b""])
    + bulks([b"ECHO", b"x" * 2000])
    + bulks([b"QUIT"])
)
COMMANDS = [
    [b"SET", b"key", b"va\r\nlue"],
    [b"PING"],
    [b"set", b"a", b"b c"],
    [b"GET", b""],
    [b"ECHO", b"x" * 2000],
    [b"QUIT"],
]


def test_commands_are_cut_out_of_what_comes():
    assert fed(MIXED) == (COMMANDS, None)


def test_they_are_the_same_wherever_it_is_cut_in_two():
    for cut in range(len(MIXED)):
        parser = Parser()
        assert parser.feed(MIXED[:cut]) + parser.feed(MIXED[cut:]) == COMMANDS, cut


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64])
def test_they_are_the_same_in_pieces_of_any_size(step):
    assert fed(MIXED, step=step) == (COMMANDS, None)


@given(st.lists(COMMAND), st.integers(1, 100))
def test_what_is_sent_comes_out(commands, step):
    data = b"".join(map(bulks, commands))
    assert fed(data) == (commands, None)
    assert fed(data, step=step) == (commands, None)


@given(st.lists(COMMAND))
def test_both_ways_of_cutting_cut_alike(commands):
    data = b"".join(map(bulks, commands))
    assert fed(data) == fed(data, max_value=SMALL) == (commands, None)


GARBAGE = st.lists(
    st.one_of(
        st.binary(max_size=10),
        st.sampled_from(
            [b"\r\n", b"\n", b"*", b"$", b"*2\r\n", b"$1\r\n", b'"', b"'", b"\\", b"-1"]
        ),
        COMMAND.map(bulks),
    )
).map(b"".join)


@given(GARBAGE, st.integers(1, 20))
def test_garbage_ends_and_is_the_same_garbage_in_pieces(data, step):
    assert fed(data, step=step) == fed(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*1\n", "invalid multibulk length"),
        (b"*65537\r\n", "invalid multibulk length"),
        (b"*" + b"1" * 400 + b"\r\n", "invalid multibulk length"),
        (b"*" + b"1" * LINE, "too big mbulk count string"),
        (b"*1\r\nGET\r\n", "expected '$', got 'G'"),
        (b"*1\r\n\r\n", "expected '$', got '\r'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$67108865\r\n", "invalid bulk length"),
        (b"*1\r\n$" + b"1" * LINE, "too big bulk count string"),
        (b"*1\r\n$3\r\nGETxx", "expected CRLF at the end of a bulk"),
        (b'SET a "b\r\n', "unbalanced quotes in request"),
        (b'SET a "b"c\r\n', "unbalanced quotes in request"),
        (b"x" * LINE, "too big inline request"),
    ],
)
def test_what_is_wrong_is_said_after_the_commands_before_it(data, problem):
    commands, said = fed(bulks([b"PING"]) + data + bulks([b"PING"]))
    assert (commands, said) == ([[b"PING"]], f"ERR Protocol error: {problem}")


def test_nothing_is_read_after_an_error():
    parser = Parser()
    parser.feed(b"*x\r\n")
    assert parser.feed(bulks([b"PING"])) == []


def test_values_have_the_size_that_is_allowed_and_no_more():
    assert fed(bulks([b"x" * 100]), max_value=100) == ([[b"x" * 100]], None)
    assert fed(bulks([b"x" * 101]), max_value=100)[1] == "ERR Protocol error: invalid bulk length"


def test_a_whole_command_has_a_limit_too():
    assert fed(bulks([b"x" * 100] * 2), max_value=100)[1] is None
    assert fed(bulks([b"x" * 100] * 3), max_value=100)[1] == "ERR Protocol error: too big request"


def cost_of_a_value(kibibytes):
    data = bulks([b"SET", b"k", b"x" * 1024 * kibibytes])
    pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    parser = Parser()
    began = time.process_time()
    commands = [command for piece in pieces for command in parser.feed(piece)]
    assert len(commands) == 1
    return time.process_time() - began


def cost_of_many_words(count):
    data = bulks([b"MSET", *[b"x" * 5] * count])
    pieces = [data[start : start + 256] for start in range(0, len(data), 256)]
    parser = Parser()
    began = time.process_time()
    commands = [command for piece in pieces for command in parser.feed(piece)]
    assert len(commands) == 1
    return time.process_time() - began


@pytest.mark.parametrize("cost", [cost_of_a_value, cost_of_many_words])
def test_large_commands_that_come_in_pieces_cost_what_they_are_long(cost):
    assert_ten_times_as_many_cost_about_ten_times_as_much(cost, few=2000, most=40)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"", []),
        (b"  a \t b  ", [b"a", b"b"]),
        (b'"a b" \'c "d\'', [b"a b", b'c "d']),
        (rb'"\n\x41\"\\" ', [b'\nA"\\']),
        (rb"'it\'s' '\n'", [b"it's", rb"\n"]),
        (b"\"\" ''", [b"", b""]),
        (b'a"b c"', [b"ab c"]),
        (b"\xff\x00", [b"\xff\x00"]),
    ],
)
def test_a_typed_line_has_words(line, found):
    assert words(line) == found


@given(st.binary())
def test_any_value_can_be_typed(value):
    typed = b"".join(rb"\x%02x" % byte for byte in value)
    assert words(b'"%b"' % typed) == [value]
    assert unescaped(value.replace(b"\\", b"\\\\")) == value


def test_replies_have_their_forms():
    assert simple("OK") == b"+OK\r\n"
    assert error("ERR two\r\nlines") == b"-ERR two  lines\r\n"
    assert integer(-5) == b":-5\r\n"
    assert (bulk(b"ab"), bulk(b"")) == (b"$2\r\nab\r\n", b"$0\r\n\r\n")
    assert (TWO.bulk(None), THREE.bulk(None)) == (b"$-1\r\n", b"_\r\n")
    assert array([integer(1), bulk(b"a")]) == b"*2\r\n:1\r\n$1\r\na\r\n"
    assert bulks([]) == b"*0\r\n"


# ---- patterns


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        (b"*", [b"", b"a", b"a\nb"], []),
        (b"a*", [b"a", b"ab"], [b"", b"ba"]),
        (b"*a", [b"a", b"aa", b"ba"], [b"", b"ab"]),
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo", b"heello"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"h[a-c]llo", [b"hbllo"], [b"hdllo", b"h-llo"]),
        (b"h[c-a]llo", [b"hbllo"], [b"hdllo"]),
        (rb"a\*b", [b"a*b"], [b"axb"]),
        (rb"[\]]", [b"]"], [b"\\"]),
        (b"a.c", [b"a.c"], [b"abc"]),
        (b"a**b*", [b"ab", b"axbx"], [b"a"]),
        (b"*ab*ba*", [b"abba", b"xabxbax"], [b"aba"]),
        (b"[a", [b"a"], [b"[a"]),
        (b"[]", [], [b"", b"[]", b"a"]),
        (b"\\", [b"\\"], [b""]),
    ],
)
def test_a_pattern_is_for_these_and_not_for_others(pattern, names, others):
    matches = matcher(pattern).fullmatch
    assert [name for name in [*names, *others] if matches(name)] == names


@given(st.binary(max_size=12))
def test_every_pattern_is_one(pattern):
    matcher(pattern).fullmatch(b"anything")


def test_a_pattern_of_many_stars_does_not_try_for_ever():
    began = time.process_time()
    assert not matcher(b"a*" * 50 + b"b").fullmatch(b"a" * 5000)
    assert time.process_time() - began < 1
