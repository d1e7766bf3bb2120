"""What a request says, taken apart, and what a status is called: no input or output here.

A `Request` is made of h11's, which has made sure that the target is printable ASCII and
that names and values of headers are such. What a server would have to refuse in any case
raises `BadRequest`; http1.py tells the client, and closes the connection.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import h11

MOST_HEADERS = 16384  # bytes of a request before its body
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~%!$&'()*+,;=-]*)(:[0-9]*)?", re.ASCII)


class Request(NamedTuple):
    """What a client asks for.

    Attributes:
        method: Such as "GET".
        target: As it was sent.
        path: The target's path, with %xx replaced.
        query: The target's query, such as ``{"name": ["value"]}``.
        headers: By their names, in lower case; several of one name, with commas between
            them, as RFC 9110 (5.3) has it. "host" is the target's, if that is a whole URL.
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
        BadRequest: The target is no path, no "*" and no URL; the headers are too long; the
            version is not HTTP/1; or it is not certain where the body ends.
    """
    # h11 refuses what is too long only while its end is not there.
    size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
    if size > MOST_HEADERS:
        raise BadRequest(431, f"headers may have {MOST_HEADERS} bytes")
    method, target = event.method.decode(), event.target.decode("latin-1")
    headers = headers_of(event)
    check_version_and_length(event.http_version, headers)
    host, path, query = taken_apart(target)
    if host is not None:
        headers["host"] = host  # whatever the header says: RFC 9112 (3.2.2)
    check_host(event.http_version, headers)
    fields = parse_qs(query, keep_blank_values=True)
    return Request(method, target, unquote(path), fields, headers, path, query)


def check_version_and_length(version: bytes, headers: dict[str, str]) -> None:
    """Refuse other versions, and a body that others might see end elsewhere.

    Between a server and such others, as a proxy is, one request could hide a second one:
    request smuggling, RFC 9112 (6.1, 11.2). HTTP/1.2 would be answered as HTTP/1.1 is.

    Raises:
        BadRequest: It is such a one.
    """
    if not version.startswith(b"1."):
        raise BadRequest(505, "this server speaks HTTP/1.1")
    if "transfer-encoding" not in headers:
        return
    if "content-length" in headers:
        raise BadRequest(400, "Content-Length and Transfer-Encoding exclude each other")
    if version == b"1.0":
        raise BadRequest(400, "HTTP/1.0 has no Transfer-Encoding")


def check_host(version: bytes, headers: dict[str, str]) -> None:
    """Refuse a request that does not say to whom it goes, as RFC 9112 (3.2) has it.

    Raises:
        BadRequest: There is no host, or what is there is none.
    """
    if "host" not in headers and version > b"1.0":
        raise BadRequest(400, "there is no Host header")
    if not HOST.fullmatch(headers.get("host", "")):
        raise BadRequest(400, "the host is not valid")


def taken_apart(target: str) -> tuple[str | None, str, str]:
    """The host, None if there is none, the path and the query, as they were sent.

    Raises:
        BadRequest: The target is no path, no "*" and no URL.
    """
    path, _, query = target.partition("?")
    if path.startswith("/") or path == "*":
        return None, path, query
    try:
        parts = urlsplit(target)  # a whole URL, as proxies are sent them
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequest(400, "the target is no URL")
    return parts.netloc, parts.path or "/", parts.query


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
