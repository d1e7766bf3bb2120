"""The chat's page, in a real browser: two pages that talk to each other.

One has the size of a phone, the other that of a desk, and each goes over either transport.
A page must not complain in its console, nor be wider than its window.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import Chromium, Page
from programs import Server, needs

pytestmark = needs("chromium")
PHONE, DESK = (390, 844), (1280, 800)
WAYS = {"websocket": "", "poll": "?transport=poll"}
# what a browser says by itself of a server that is stopping, or gone
REFUSED = ("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "status of 503")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("chat") as server:
        yield server
        server.stop()


@pytest.fixture
def pages(chromium: Chromium) -> Iterator[Any]:
    """Open pages; after the test they must have had nothing to complain about."""
    opened: list[Page] = []

    def open_page(size: tuple[int, int], **options: Any) -> Page:
        opened.append(chromium.page(*size, **options))
        return opened[-1]

    yield open_page
    complaints = [complaint for page in opened for complaint in page.complaints]
    for page in opened:
        page.close()
    assert complaints == []


def join(page: Page, url: str, name: str, room: str, way: str = "websocket") -> None:
    """Come in, as people do: fill in, and press Enter."""
    page.go(f"{url}/{WAYS[way]}")
    page.until("document.activeElement.id", "name")
    page.type(name)
    page.press("Tab", 9)
    page.js("document.activeElement.select()")
    page.type(room)
    page.press("Enter", 13)
    page.until("document.body.dataset.state", "open")
    page.until("document.activeElement.id", "text")
    assert page.js("document.querySelector('#title').textContent") == room


def say(page: Page, text: str) -> None:
    page.js("document.querySelector('#text').focus()")
    page.type(text)
    page.press("Enter", 13)


def texts(page: Page, kind: str = ".said .text") -> list[str]:
    return page.js(f"[...document.querySelectorAll({kind!r})].map((each) => each.textContent)")


def hears(page: Page, *said: str) -> None:
    """Wait until these are the messages on a page."""
    page.until(
        "[...document.querySelectorAll('.said .text')].map((each) => each.textContent)", list(said)
    )


def fits(page: Page) -> bool:
    return page.js("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("phone_way", WAYS)
@pytest.mark.parametrize("desk_way", WAYS)
def test_a_phone_and_a_desk_talk(server, pages, phone_way, desk_way):
    room = f"{phone_way} {desk_way}"
    ann, bob = pages(PHONE), pages(DESK)
    join(ann, server.url, "ann", room, phone_way)
    join(bob, server.url, "bob", room, desk_way)
    for page in (ann, bob):
        page.until("document.querySelector('#count').textContent", "2")
        assert ("polling" in texts(page, "#state-text")[0]) == (
            (phone_way if page is ann else desk_way) == "poll"
        )
    ann.type("hi")
    bob.until("document.querySelector('#typing').textContent", "ann is typing…")
    ann.press("Enter", 13)
    hears(bob, "hi")
    hears(ann, "hi")
    bob.until("document.querySelector('#typing').textContent", "")
    say(bob, "hello, ann")
    hears(ann, "hi", "hello, ann")
    assert ann.js("document.querySelectorAll('.said.own').length") == 1
    assert fits(ann)
    assert fits(bob)
    bob.click("#leave")
    ann.until("document.querySelector('#count').textContent", "1")
    assert texts(ann, ".line") == ["bob joined", "bob left"]


@pytest.mark.parametrize("way", WAYS)
def test_html_is_shown_as_text_and_long_words_are_broken(server, pages, way):
    ann, bob = pages(PHONE), pages(PHONE, dark=True)
    evil = "<img src=x onerror='document.title=1'><script>document.title=2</script>"
    join(ann, server.url, "<b>ann</b>", f"<i>{way}</i>", way)
    join(bob, server.url, "bob", f"<i>{way}</i>", way)
    say(ann, evil)
    hears(bob, evil)
    say(bob, "x" * 500)
    hears(ann, evil, "x" * 500)
    for page in (ann, bob):
        assert "<b>ann</b>" in texts(page, ".name")
        assert page.js("document.querySelectorAll('#app :is(img, script, b, i)').length") == 0
        assert page.js("document.title") == f"<i>{way}</i> – Chat"
        assert fits(page)


def test_pages_come_back_when_the_server_has_been_restarted(pages):
    ann, bob = pages(PHONE), pages(DESK)
    with Server("chat", "--grace", "3") as first:
        join(ann, first.url, "ann", "lobby")
        join(bob, first.url, "bob", "lobby", "poll")
        say(ann, "before")
        hears(bob, "before")
        first.stop()
    for page in (ann, bob):
        page.until("document.body.dataset.state", "waiting")
    ann.js("document.querySelector('#text').value = 'not lost'")
    with Server("chat", "--grace", "3", "--port", str(first.port)) as second:
        for page in (ann, bob):
            page.until("document.body.dataset.state", "open", 30)
            page.until("document.querySelector('#count').textContent", "2")
        say(ann, "")  # what was written in the meantime
        hears(bob, "before", "not lost")
        hears(ann, "before", "not lost")
        for page in (ann, bob):
            page.click("#leave")
            page.until("document.querySelector('#door').hidden", False)
        second.stop()
    for page in (ann, bob):
        page.complaints = [each for each in page.complaints if not any(r in each for r in REFUSED)]


def test_a_page_falls_back_to_polling_where_no_websocket_opens(server, pages):
    ann = pages(DESK)
    ann.go(server.url)
    ann.js(
        "window.WebSocket = class { constructor() { setTimeout(() => this.onclose()); } close() {} }"
    )
    ann.until("document.activeElement.id", "name")
    ann.type("ann")
    ann.press("Enter", 13)
    ann.until("document.querySelector('#state-text').textContent", "connected, by polling")
    say(ann, "through")
    hears(ann, "through")


def test_a_name_that_is_taken_is_refused_at_the_door(server, pages):
    ann, other = pages(DESK), pages(PHONE)
    join(ann, server.url, "ann", "door")
    other.go(f"{server.url}/?name=ann&room=door")
    other.until("document.activeElement.id", "room")
    other.press("Enter", 13)
    other.until(
        "document.querySelector('#refusal').textContent",
        "Somebody in door is called ann already.",
    )
    other.js("document.querySelector('#name').value = 'ann too'")
    other.click("#join button")
    other.until("document.body.dataset.state", "open")


def test_the_members_are_a_sidebar_on_a_desk_and_a_drawer_on_a_phone(server, pages):
    ann, bob = pages(DESK), pages(PHONE)
    join(ann, server.url, "ann", "drawer")
    join(bob, server.url, "bob", "drawer")
    shown = "getComputedStyle(document.querySelector('#people')).visibility"
    assert (ann.js(shown), bob.js(shown)) == ("visible", "hidden")
    ann.until(
        "[...document.querySelectorAll('#names .name')].map((each) => each.textContent)",
        ["ann", "bob"],
    )
    bob.click("#show-people")
    bob.until(shown, "visible")
    bob.until("document.activeElement.id", "hide-people")
    bob.press("Escape", 27)
    bob.until(shown, "hidden")
    assert bob.js("document.activeElement.id") == "show-people"
    assert fits(bob)


def test_every_field_and_button_has_a_name(server, pages):
    ann = pages(PHONE)
    join(ann, server.url, "ann", "names")
    say(ann, "x")
    tree = ann.call("Accessibility.getFullAXTree")["nodes"]
    for node in tree:
        if node.get("role", {}).get("value") in ("button", "textbox", "log"):
            assert node["name"]["value"], node
    assert "log" in [node.get("role", {}).get("value") for node in tree]


def test_a_browser_has_its_messages_compressed(server, pages):
    ann = pages(DESK)
    join(ann, server.url, "ann", "small")
    ann.js("void (window.probe = new WebSocket(`ws://${location.host}/ws`))")
    ann.until("probe.readyState", 1)
    assert ann.js("probe.extensions").startswith("permessage-deflate; server_no_context_takeover")
    ann.js("void (probe.onmessage = (message) => (window.heard = JSON.parse(message.data).names))")
    ann.js("probe.send(JSON.stringify({type: 'join', room: 'small', name: 'b'.repeat(24)}))")
    ann.until("window.heard", ["ann", "b" * 24])
    ann.js("probe.close()")
    say(ann, "so " * 300)
    hears(ann, ("so " * 300).strip())
