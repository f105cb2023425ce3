"""The pages that browsers get in place of short texts."""

from __future__ import annotations

import pytest

from tests.proxy.scripted import setting

BROWSER = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*;q=0.8\r\n\r\n"


@pytest.mark.parametrize(
    ("accept", "has_page"),
    [
        (b"text/html", True),
        (b"application/xhtml+xml, text/html;q=0.9, */*", True),
        (b"TEXT/HTML ; q=0.5", True),
        (b"*/*", False),
        (b"application/json", False),
        (b"text/html;q=0", False),
        (b"text/html;q=0.0, */*", False),
        (b"text/htmlx", False),
    ],
)
async def test_an_error_page_is_for_clients_that_accept_html(accept: bytes, has_page: bool) -> None:
    async with setting(live=False) as here:
        here.context.error_pages.pages = {503: b"<h1>Sorry</h1>"}
        answer = await (await here.client()).ask(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: %b\r\n\r\n" % accept)
        assert answer.status == 503
        assert (answer.body == b"<h1>Sorry</h1>") is has_page
        assert answer[b"content-type"].startswith(b"text/html") is has_page
        assert b"retry-after" in answer


async def test_an_answer_of_the_app_stays_as_it_is() -> None:
    async with setting() as here:
        here.context.error_pages.pages = {503: b"<h1>Sorry</h1>"}
        own = b"HTTP/1.1 503 Of The App\r\nContent-Length: 3\r\n\r\napp"
        here.nursery.start_soon(here.app.serve, lambda _: own)
        assert (await (await here.client()).ask(BROWSER)).body == b"app"


async def test_a_status_without_a_page_has_the_short_text() -> None:
    async with setting() as here:
        here.context.error_pages.pages = {503: b"<h1>Sorry</h1>"}
        client, app = await here.pair(BROWSER)
        app.close()
        assert (await client.message()).body.startswith(b"502 Bad Gateway")
