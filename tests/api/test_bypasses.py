"""Ways around the token, on a real socket: none of them deploys, and none gets more than a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.api import guard
from tests.api.conftest import TOKEN
from tests.api.test_server import rest, setting

if TYPE_CHECKING:
    from tests.api.conftest import FakeAgent

WRONG = "x" * len(TOKEN)
BEARER = f"Authorization: Bearer {TOKEN}"

FIELDS = {
    "no_field": "",
    "another_scheme": f"Authorization: Basic {TOKEN}",
    "no_scheme": f"Authorization: {TOKEN}",
    "a_scheme_run_together": f"Authorization: Bearer{TOKEN}",
    "a_tab_for_the_space": f"Authorization: Bearer\t{TOKEN}",
    "a_wrong_token_first": f"Authorization: Bearer {WRONG}\r\n{BEARER}",
    "a_wrong_token_second": f"{BEARER}\r\nAuthorization: Bearer {WRONG}",
    "the_token_twice": f"{BEARER}\r\n{BEARER}",
    "two_in_a_list": f"Authorization: Bearer {WRONG}, Bearer {TOKEN}",
    "a_prefix": f"Authorization: Bearer {TOKEN[:-1]}",
    "a_suffix": f"Authorization: Bearer {TOKEN}x",
    "quotes": f'Authorization: Bearer "{TOKEN}"',
    "another_field": f"Proxy-Authorization: Bearer {TOKEN}",
    "an_underscore": f"X_Authorization: Bearer {TOKEN}",
    "a_cookie": f"Cookie: token={TOKEN}; Authorization=Bearer {TOKEN}",
    "a_rewritten_target": "X-Original-URL: /\r\nX-Rewrite-URL: /",
    "a_forwarded_client": "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1",
    "another_method": "X-HTTP-Method-Override: GET\r\nX-Method-Override: GET",
    "an_upgrade_to_http_2": "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
    "a_websocket": "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13",
}

TARGETS = [
    f"/redeploy?token={TOKEN}",
    f"/redeploy?access_token={TOKEN}",
    "//redeploy",
    "/./redeploy",
    "/x/../redeploy",
    "/%2fredeploy",
    "/redeploy;/",
    "/?/redeploy",
    "/%2e/redeploy",
    "/;/redeploy",
    "/redeploy%00",
    "/REDEPLOY",
    "http://api/redeploy",
    f"http://user:{TOKEN}@api/redeploy",
    "*",
]


async def told(agent: FakeAgent, data: bytes) -> bytes:
    async with setting(agent.app()) as here, await here.client() as client:
        await client.send_all(data)
        await client.send_eof()
        return await rest(client)


@pytest.fixture(autouse=True)
def _without_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PACE_SECONDS", 0.0)


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
async def test_only_a_field_with_the_token_admits_a_call(agent: FakeAgent, fields: str) -> None:
    more = f"{fields}\r\n" if fields else ""
    answer = await told(agent, f"POST /redeploy HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n{more}\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 ")), answer
    assert agent.asked == []


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("target", TARGETS)
async def test_no_target_is_taken_for_the_page_or_lets_a_call_in(agent: FakeAgent, target: str, method: str) -> None:
    answer = await told(agent, f"{method} {target} HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n".encode())
    is_page = target.startswith("/?") and method == "GET"
    assert answer.startswith(b"HTTP/1.1 200 " if is_page else b"HTTP/1.1 4"), answer
    assert agent.asked == []
    assert b'"deploy"' not in answer


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        b"GET / HTTP/1.1\r\nHost: api\r\n\r\nPOST /redeploy HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n",
        (
            b"GET / HTTP/1.1\r\nHost: api\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"POST /redeploy HTTP/1.1\r\nHost: api\r\n\r\n"
        ),
    ],
    ids=["http_2", "a_call_behind_the_page", "two_lengths"],
)
async def test_a_request_that_follows_one_for_the_page_needs_the_token(agent: FakeAgent, data: bytes) -> None:
    await told(agent, data)
    assert agent.asked == []
