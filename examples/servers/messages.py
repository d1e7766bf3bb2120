"""What a request says, taken apart, and what a status is called: no input or output here.

A `Request` is made of h11's, which has made sure that the target is printable ASCII and
that names and values of headers are such. What a server would have to refuse in any case
raises `BadRequest`; http1.py tells the client, and closes the connection.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import h11

MOST_HEADERS = 16384  # bytes of a request before its body


class Request(NamedTuple):
    """What a client asks for.

    Attributes:
        method: Such as "GET".
        target: As it was sent.
        path: The target's path, with %xx replaced.
        query: The target's query, such as ``{"name": ["value"]}``.
        headers: By their names, in lower case; several of one name, with commas between
            them, as RFC 9110 (5.3) has it.
        raw_path: The target's path, as it was sent: here "%2F" is not "/".
        raw_query: The target's query, as it was sent, without the "?".
    """

    method: str
    target: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    raw_path: str = ""
    raw_query: str = ""


class BadRequest(Exception):  # noqa: N818  (as its status is called)
    """A request that cannot be served, for the client's reasons.

    Args:
        status: The status to answer with.
        reason: What the client is told.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def parsed(event: h11.Request) -> Request:
    """A request, from h11's.

    Raises:
        BadRequest: The target is no path, no "*" and no URL; or the headers are too long.
    """
    # h11 refuses what is too long only while its end is not there.
    size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
    if size > MOST_HEADERS:
        raise BadRequest(431, f"headers may have {MOST_HEADERS} bytes")
    method, target = event.method.decode(), event.target.decode("latin-1")
    path, query = path_and_query(target)
    fields = parse_qs(query, keep_blank_values=True)
    return Request(method, target, unquote(path), fields, headers_of(event), path, query)


def path_and_query(target: str) -> tuple[str, str]:
    """The two, as they were sent.

    Raises:
        BadRequest: The target is no path, no "*" and no URL.
    """
    path, _, query = target.partition("?")
    if path.startswith("/") or path == "*":
        return path, query
    try:
        parts = urlsplit(target)  # a whole URL, as proxies are sent them
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https"):
        raise BadRequest(400, "the target is no URL")
    return parts.path or "/", parts.query


def headers_of(event: h11.Request) -> dict[str, str]:
    """The headers of a request, by their names."""
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in event.headers:
        name, value = name_bytes.decode(), value_bytes.decode("latin-1")
        if name in headers:  # cookies are the exception: RFC 6265 (5.4)
            value = headers[name] + ("; " if name == "cookie" else ", ") + value
        headers[name] = value
    return headers


def phrase(status: int) -> str:
    """What a status is called; nothing if it has no name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
