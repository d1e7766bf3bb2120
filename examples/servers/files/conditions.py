"""Whether a client needs to be sent a file: the conditions of RFC 9110 (13), without I/O.

A client that has a copy says which, by an entity tag or by a date, and is sent the file
only if that has changed (304 if not), or only if it has not changed (412 if it has). What
is asked first, when several are there, is in `status_for`, with the numbers of the steps
in the RFC (13.2.2).

A tag is weak if the file was changed a moment ago: it could change once more without its
time, or its size, showing that. Nobody may put two pieces together by a weak tag.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import NamedTuple

TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
DATES = (  # RFC 9110 (5.6.7); only the first is still written
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %d %H:%M:%S %Y",
)
LATEST = 253402300799  # the last second of the year 9999, and of what a date can say
MOMENT = 1.0  # seconds


class Version(NamedTuple):
    """What tells this version of a file from others.

    Attributes:
        tag: The entity tag, with its quotes, and without the W/ of a weak one.
        weak: Whether the tag is weak.
        modified: When the file was changed, in whole seconds since 1970.
    """

    tag: str
    weak: bool
    modified: int

    @property
    def headers(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """The headers that tell a client."""
        tag = "W/" + self.tag if self.weak else self.tag
        return ("ETag", tag), ("Last-Modified", formatdate(self.modified, usegmt=True))


def version_of(status: os.stat_result, at: float) -> Version:
    """The version of a file, by its `status`, at the time `at`.

    A file from the future counts as changed now: no response may claim to know better.
    """
    tag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'
    modified = int(max(0, min(status.st_mtime, at, LATEST)))
    return Version(tag, at - status.st_mtime < MOMENT, modified)


def status_for(headers: Mapping[str, str], version: Version) -> int:
    """What to answer to a GET or a HEAD: 200, 304 or 412.

    Args:
        headers: Of the request, by their names in lower case.
        version: Of the file.
    """
    if "if-match" in headers:  # step 1
        holds = is_one_of(headers["if-match"], version, strong=True)
    else:  # step 2
        date = seconds_of(headers.get("if-unmodified-since"))
        holds = date is None or version.modified <= date
    if not holds:
        return 412
    if "if-none-match" in headers:  # step 3
        return 304 if is_one_of(headers["if-none-match"], version, strong=False) else 200
    date = seconds_of(headers.get("if-modified-since"))  # step 4
    return 200 if date is None or version.modified > date else 304


def range_holds(headers: Mapping[str, str], version: Version) -> bool:
    """Whether a part may be sent: the client's other parts are of the same version (step 5)."""
    condition = headers.get("if-range")
    if condition is None:
        return True
    if '"' in condition:
        return is_one_of(condition, version, strong=True)
    return not version.weak and seconds_of(condition) == version.modified


def is_one_of(tags: str, version: Version, *, strong: bool) -> bool:
    """Whether a list of tags has the version's; weak ones count only if not `strong`."""
    if tags.strip() == "*":
        return True
    if strong and version.weak:
        return False
    return any(tag == version.tag and not (strong and weak) for weak, tag in TAG.findall(tags))


def seconds_of(date: str | None) -> int | None:
    """A date of HTTP, in seconds since 1970; None if it is none."""
    for form in DATES if date else ():
        try:
            return int(datetime.strptime(str(date), form).replace(tzinfo=UTC).timestamp())
        except ValueError:
            pass
    return None
