"""The pages of the file server: a folder, and what went wrong. Text in, HTML out.

Whatever comes from outside is escaped, as text by `html.escape` and in links by `quote`:
a name may have any byte in it but "/" and zero.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from examples.servers.files.folders import Entry
from examples.servers.messages import phrase

HTML = ("Content-Type", "text/html; charset=utf-8")
STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --quiet: #999; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; margin: .5rem 0 1rem; }
ul { list-style: none; margin: 0; padding: 0; border-top: 1px solid var(--line); }
li { border-bottom: 1px solid var(--line); }
li a { display: flex; flex-wrap: wrap; align-items: baseline; column-gap: 1rem; }
li a { padding: .6rem .25rem; }
a { color: var(--link); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
.name { flex: 1 1 12rem; overflow-wrap: anywhere; }
.folder { font-weight: 600; }
.size, .date { color: var(--quiet); font-size: .875rem; font-variant-numeric: tabular-nums; }
.size { flex: 0 0 5rem; text-align: right; }
.date { flex: 0 0 10rem; text-align: right; }
p { color: var(--quiet); }
@media (max-width: 36rem) {
  .name { flex-basis: 100%; }
  .size, .date { flex: 0 0 auto; }
}
"""
HEAD = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>{STYLE.replace("%", "%%")}</style>
</head>
<body>
"""
END = "</body>\n</html>\n"


def folder_begin(names: Sequence[str]) -> str:
    """The begin of a folder's page, up to its first line.

    Args:
        names: Along the path from the root; none for the root itself.
    """
    links = ['<a href="/">root</a>']
    for place, name in enumerate(names, start=1):
        links.append(f'<a href="{address(names[:place])}">{shown(name)}</a>')
    title = shown("/".join(["", *names, ""]))
    parent = '<li><a href="../"><span class="name folder">../</span></a></li>\n' if names else ""
    return f"{HEAD % title}<h1>{' / '.join(links)}</h1>\n<ul>\n{parent}"


def folder_line(entry: Entry) -> str:
    """One line of a folder's page."""
    slash, kind = ("/", "name folder") if entry.is_folder else ("", "name")
    size = "" if entry.is_folder else f'<span class="size">{size_of(entry.size)}</span>'
    return (
        f'<li><a href="{link(entry.name)}{slash}">'
        f'<span class="{kind}">{shown(entry.name)}{slash}</span>'
        f'{size}<span class="date">{date_of(entry.modified)}</span></a></li>\n'
    )


def folder_end(count: int) -> str:
    """The end of a folder's page, after so many lines."""
    return f"</ul>\n<p>{count or 'no'} {'entry' if count == 1 else 'entries'}</p>\n{END}"


def refusal_page(status: int, reason: str) -> bytes:
    """The page for a status such as 404."""
    title = f"{status} {phrase(status)}"
    back = '<a href="/">To the root</a>'
    return f"{HEAD % title}<h1>{title}</h1>\n<p>{escape(reason)}. {back}</p>\n{END}".encode()


def address(names: Sequence[str]) -> str:
    """The path of the folder to which these names lead, as a URL has it."""
    return "".join(["/", *(f"{link(name)}/" for name in names)])


def link(name: str) -> str:
    """A name as a URL has it. No name can become a scheme, a query or a host by that."""
    return quote(os.fsencode(name), safe="")


def shown(name: str) -> str:
    """A name as HTML has it. What is no UTF-8 is shown as what it is: not readable."""
    return escape(os.fsencode(name).decode("utf-8", "replace"))


def size_of(count: float) -> str:
    """So many bytes, for people."""
    if count < 1000:
        return f"{count:.0f} B"
    units = iter(("kB", "MB", "GB", "TB", "PB", "EB"))
    while count >= 999.5:
        count, unit = count / 1000, next(units)
    return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"


def date_of(moment: float) -> str:
    """A time in seconds since 1970, for people: where the server is."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return "at some time"  # a file may claim a year that no calendar has
