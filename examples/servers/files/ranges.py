"""Which part of a file a request asks for: the Range header of RFC 9110 (14), without I/O.

`ranges_of` says which bytes, as `range` objects; `layout` turns them into the body of a
response, in which a `range` stands for bytes of the file and `bytes` for themselves. So
all of it can be tested without a file.

Three kinds of header are ignored, as the RFC allows, and the whole file is sent: what is
no list of byte ranges; what asks for so many pieces, or for pieces that overlap so much,
that answering costs more than the file; and any, if the file is empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_RANGES = 16
ONE = re.compile(r"([0-9]*)-([0-9]*)")
HUGE = 10**18  # beyond any file

Layout = list[bytes | range]


def ranges_of(header: str, size: int) -> list[range] | None:
    """The bytes that a Range header asks for.

    Args:
        header: Its value, such as "bytes=0-99, -10".
        size: How many bytes the file has.

    Returns:
        Ranges that are within the file, in the order in which they were asked for; none
        if there are no such bytes; None if the header is to be ignored.
    """
    unit, equals, rest = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    asked = [one for each in rest.split(",") if (one := each.strip(" \t"))]
    found = [range_of(one, size) for one in asked]
    if not asked or len(asked) > MOST_RANGES or None in found:
        return None
    parts = [part for part in found if part]
    if sum(map(len, parts)) > size or size == 0:
        return None
    return parts


def range_of(text: str, size: int) -> range | None:
    """One range, such as "0-99", "100-" or "-10": empty if outside, None if it is none."""
    match = ONE.fullmatch(text)
    if match is None or text == "-":
        return None
    first, last = match[1], match[2]
    if not first:
        return range(max(0, size - number(last)), size)
    if last and number(last) < number(first):
        return None
    stop = min(size, number(last) + 1) if last else size
    return range(min(number(first), stop), stop)


def number(digits: str) -> int:
    """A number of any length: Python refuses to read one of more than 4300 digits."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 18 else HUGE


def content_range(part: range, size: int) -> str:
    """The Content-Range header for a part."""
    return f"bytes {part.start}-{part.stop - 1}/{size}"


def layout(parts: Sequence[range], size: int, kind: str, boundary: str) -> Layout:
    """The body of a response with several parts (multipart/byteranges).

    Args:
        parts: What of the file.
        size: How many bytes the file has.
        kind: Its Content-Type.
        boundary: What separates the parts, and is not in any of them.
    """
    body: Layout = []
    for part in parts:
        head = f"--{boundary}\r\nContent-Type: {kind}\r\n"
        body.append(f"{head}Content-Range: {content_range(part, size)}\r\n\r\n".encode())
        body.append(part)
        body.append(b"\r\n")
    body.append(f"--{boundary}--\r\n".encode())
    return body
