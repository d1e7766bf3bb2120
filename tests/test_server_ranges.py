"""What part of a file is asked for, and whether it is: ranges, conditions, pages; without I/O."""

from __future__ import annotations

import html
import os
import re
from email.utils import formatdate
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes, urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from examples.servers.files import pages
from examples.servers.files.__main__ import kind_of
from examples.servers.files.conditions import (
    Version,
    range_holds,
    seconds_of,
    status_for,
    version_of,
)
from examples.servers.files.folders import Entry, Refusal, names_of
from examples.servers.files.ranges import MOST_RANGES, content_range, layout, number, ranges_of

# ---- ranges


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-0", 10, [range(1)]),
        ("bytes=2-5", 10, [range(2, 6)]),
        ("bytes=7-", 10, [range(7, 10)]),
        ("bytes=-3", 10, [range(7, 10)]),
        ("bytes=-30", 10, [range(10)]),
        ("bytes=0-99", 10, [range(10)]),
        ("bytes=0-" + "9" * 5000, 10, [range(10)]),
        ("bytes=" + "0" * 5000 + "1-1", 10, [range(1, 2)]),
        ("BYTES = 0-0", 10, [range(1)]),
        ("bytes=0-0, 2-2 ,,\t-1", 10, [range(1), range(2, 3), range(9, 10)]),
        ("bytes=5-6,0-1", 10, [range(5, 7), range(2)]),  # in the order asked for
        ("bytes=0-1,50-60", 10, [range(2)]),  # what is outside is left out
        # There are no such bytes.
        ("bytes=10-", 10, []),
        ("bytes=10-20", 10, []),
        ("bytes=" + "9" * 5000 + "-", 10, []),
        ("bytes=-0", 10, []),
        # Ignored.
        ("", 10, None),
        ("bytes", 10, None),
        ("bytes=", 10, None),
        ("bytes=,", 10, None),
        ("bytes=-", 10, None),
        ("bytes=5-2", 10, None),
        ("bytes=1-2,5-2", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=1 - 2", 10, None),
        ("bytes=+1-2", 10, None),
        ("bytes=1-2-3", 10, None),
        ("bytes=²-³", 10, None),
        ("lines=1-2", 10, None),
        ("bytes=0-5,3-9", 10, None),  # more bytes than the file has
        ("bytes=0-", 0, None),  # of an empty file
        ("bytes=-0", 0, None),
        ("bytes=-5", 0, None),
        ("bytes=0-1023", 0, None),
        ("bytes=5-9,7-", 0, None),
        ("bytes=" + ",".join(["0-0"] * (MOST_RANGES + 1)), 100, None),
    ],
)
def test_ranges_are_what_the_header_says(
    header: str, size: int, expected: list[range] | None
) -> None:
    assert ranges_of(header, size) == expected


@given(st.text() | st.from_regex(r"bytes=[0-9\-, a]*", fullmatch=True), st.integers(0, 50))
def test_no_header_leads_out_of_the_file_or_to_more_than_the_file(header: str, size: int) -> None:
    parts = ranges_of(header, size)
    if parts is not None:
        assert all(0 <= part.start < part.stop <= size for part in parts)
        assert sum(map(len, parts)) <= size


numbers = st.integers(0, 40)
specs = st.one_of(
    st.tuples(numbers, numbers), st.tuples(numbers, st.none()), st.tuples(st.none(), numbers)
)


@given(st.lists(specs, min_size=1, max_size=5), st.integers(1, 30))
def test_ranges_agree_with_pythons_slices(asked: list[tuple[int | None, ...]], size: int) -> None:
    """A model that knows no header: the bytes that each range stands for, one by one."""
    text = ",".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in asked)
    data = bytes(range(size))
    invalid = any(a is not None and b is not None and b < a for a, b in asked)
    wanted = [
        (data[-b:] if b else b"") if a is None else data[a : None if b is None else b + 1]
        for a, b in asked
    ]
    found = ranges_of(f"bytes={text}", size)
    if invalid or sum(map(len, wanted)) > size:
        assert found is None
    else:
        assert found is not None
        assert [data[part.start : part.stop] for part in found] == [each for each in wanted if each]


@given(st.integers(0, 10**30))
def test_numbers_are_right_up_to_the_size_of_any_file(value: int) -> None:
    assert number(str(value)) == value or (value >= 10**18 == number(str(value)))


def test_several_parts_have_a_head_each_and_an_end() -> None:
    body = layout([range(2), range(5, 9)], 10, "text/plain", "XX")
    assert body == [
        b"--XX\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n",
        range(2),
        b"\r\n",
        b"--XX\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-8/10\r\n\r\n",
        range(5, 9),
        b"\r\n",
        b"--XX--\r\n",
    ]
    assert content_range(range(10), 10) == "bytes 0-9/10"


# ---- conditions

OLD, NOW, NEW = 1_000_000_000, 1_000_000_500, 1_000_001_000
STRONG = Version('"a"', False, NOW)
WEAK = Version('"a"', True, NOW)


def date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "version", "status"),
    [
        ({}, STRONG, 200),
        ({"if-none-match": '"a"'}, STRONG, 304),
        ({"if-none-match": 'W/"a"'}, STRONG, 304),
        ({"if-none-match": '"a"'}, WEAK, 304),
        ({"if-none-match": '"b", W/"c" ,"a"'}, STRONG, 304),
        ({"if-none-match": '"b,a", "c"'}, STRONG, 200),
        ({"if-none-match": "*"}, STRONG, 304),
        ({"if-none-match": "a"}, STRONG, 200),
        ({"if-none-match": ""}, STRONG, 200),
        ({"if-match": '"a"'}, STRONG, 200),
        ({"if-match": '"b", "a"'}, STRONG, 200),
        ({"if-match": "*"}, WEAK, 200),
        ({"if-match": '"b"'}, STRONG, 412),
        ({"if-match": 'W/"a"'}, STRONG, 412),
        ({"if-match": '"a"'}, WEAK, 412),
        ({"if-match": "nonsense"}, STRONG, 412),
        ({"if-modified-since": date(NOW)}, STRONG, 304),
        ({"if-modified-since": date(NEW)}, STRONG, 304),
        ({"if-modified-since": date(OLD)}, STRONG, 200),
        ({"if-modified-since": "yesterday"}, STRONG, 200),
        ({"if-unmodified-since": date(NOW)}, STRONG, 200),
        ({"if-unmodified-since": date(OLD)}, STRONG, 412),
        ({"if-unmodified-since": "yesterday"}, STRONG, 200),
        # What comes first counts.
        ({"if-match": '"a"', "if-unmodified-since": date(OLD)}, STRONG, 200),
        ({"if-match": '"b"', "if-none-match": '"a"'}, STRONG, 412),
        ({"if-match": '"a"', "if-none-match": '"a"'}, STRONG, 304),
        ({"if-none-match": '"b"', "if-modified-since": date(NEW)}, STRONG, 200),
        ({"if-none-match": '"a"', "if-modified-since": date(OLD)}, STRONG, 304),
        ({"if-unmodified-since": date(OLD), "if-none-match": '"a"'}, STRONG, 412),
        ({"if-unmodified-since": date(NOW), "if-modified-since": date(NOW)}, STRONG, 304),
    ],
)
def test_conditions_are_asked_in_the_order_of_the_rfc(
    headers: dict[str, str], version: Version, status: int
) -> None:
    assert status_for(headers, version) == status


@pytest.mark.parametrize(
    ("condition", "version", "holds"),
    [
        (None, WEAK, True),
        ('"a"', STRONG, True),
        ('"b"', STRONG, False),
        ('W/"a"', STRONG, False),
        ('"a"', WEAK, False),
        (date(NOW), STRONG, True),
        (date(NOW), WEAK, False),
        (date(NEW), STRONG, False),  # a later date will not do: it must be the same version
        (date(OLD), STRONG, False),
        ("nonsense", STRONG, False),
    ],
)
def test_a_part_is_sent_only_of_surely_the_same_version(
    condition: str | None, version: Version, holds: bool
) -> None:
    headers = {} if condition is None else {"if-range": condition}
    assert range_holds(headers, version) is holds


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_dates_have_three_forms(text: str) -> None:
    assert seconds_of(text) == 784111777


@given(st.text())
def test_no_text_is_too_strange_for_a_date_or_a_tag(text: str) -> None:
    names = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since")
    assert seconds_of(text) is None or isinstance(seconds_of(text), int)
    for name in names:
        assert status_for({name: text}, STRONG) in (200, 304, 412)


@given(st.integers(0, 4_000_000_000))
def test_dates_are_read_as_they_are_written(seconds: int) -> None:
    assert seconds_of(date(seconds)) == seconds


@pytest.mark.parametrize(
    ("age", "weak", "modified"), [(10.5, False, 89), (0.2, True, 99), (-50.0, True, 100)]
)
def test_a_file_changed_a_moment_ago_has_a_weak_tag(
    tmp_path: os.PathLike[str], age: float, weak: bool, modified: int
) -> None:
    path = os.path.join(tmp_path, "x")
    open(path, "w").close()
    os.utime(path, (0, 100 - age))
    version = version_of(os.stat(path), 100.0)
    assert (version.weak, version.modified) == (weak, modified)
    assert version.headers[0][1].startswith('W/"') is weak


# ---- names and pages


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/", []),
        ("//", []),
        ("/a", ["a"]),
        ("//a///b/", ["a", "b"]),
        ("/a%20b", ["a b"]),
        ("/%zz%4", ["%zz%4"]),
        ("/%C3%BC", ["ü"]),
        ("/%ff", ["\udcff"]),
        ("/...", ["..."]),
        ("/a+b", ["a+b"]),
    ],
)
def test_names_are_taken_apart_before_they_are_unquoted(path: str, names: list[str]) -> None:
    assert names_of(path) == names


@pytest.mark.parametrize(
    "path",
    ["/..", "/a/../b", "/%2e%2e/b", "/.%2E", "/.", "/a%2fb", "/a%5Cb", "/a\\b", "/a%00", "/%2F"],
)
def test_names_that_could_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(Refusal) as caught:
        names_of(path)
    assert caught.value.status == 400


class Links(HTMLParser):
    """The links of a page, the text, and whether there is an element that should not be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""
        self.elements: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        assert all(name in ("href", "class") for name, _ in attrs)
        self.links.extend(value or "" for name, value in attrs if name == "href")

    def handle_data(self, data: str) -> None:
        self.text += data


any_name = st.binary(min_size=1).filter(lambda raw: not re.search(rb"[/\0\\]", raw))


@given(any_name.filter(lambda raw: raw not in (b".", b"..")), st.booleans())
@example(b"data:text", False)
@example(b"javascript:x", True)
def test_every_name_can_be_followed_and_none_can_be_markup(raw: bytes, folder: bool) -> None:
    name = os.fsdecode(raw)
    page = Links(pages.folder_line(Entry(name, folder, 5, 0.0)))
    assert page.elements == {"li", "a", "span"}
    (link,) = page.links
    path = urljoin("http://host/up/", link)
    assert path.startswith("http://host/up/")
    assert os.fsencode(names_of(path.removeprefix("http://host"))[-1]) == raw
    if raw.isascii() and raw.decode().isprintable():
        assert raw.decode() in page.text


@given(st.lists(any_name, max_size=3))
def test_the_begin_of_a_page_links_to_each_folder_above(raw: list[bytes]) -> None:
    names = list(map(os.fsdecode, raw))
    page = pages.folder_begin(names)
    links = re.findall(r'href="([^"]*)"', page)
    assert links == [pages.address(names[:count]) for count in range(len(names) + 1)] + (
        ["../"] if names else []
    )
    assert [unquote_to_bytes(each) for each in pages.address(names).split("/")[1:-1]] == raw


def test_what_went_wrong_is_text() -> None:
    page = pages.refusal_page(404, "<script>").decode()
    assert html.escape("<script>") in page and "<script>" not in page
    assert "404 Not Found" in page


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9999, "10 kB"),
        (999_499, "999 kB"),
        (999_999, "1.0 MB"),
        (3 * 10**9, "3.0 GB"),
        (2**63, "9.2 EB"),
    ],
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert pages.size_of(count) == text


def test_a_time_that_no_calendar_has_is_no_reason_to_fail() -> None:
    assert pages.date_of(1e30) == "at some time"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.HTML", "text/html; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.tar.gz", "application/gzip"),  # not Content-Encoding: who loads it wants it packed
        ("README", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
        ("a?b#c.css", "text/css; charset=utf-8"),
        ("\udcff.txt", "text/plain; charset=utf-8"),
    ],
)
def test_the_content_type_comes_from_the_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind
