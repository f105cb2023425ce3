from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.api.guard import BODY_BYTES, BODY_SECONDS, PACE_SECONDS, Guard
from rainbowd.api.token import Token
from tests.api.conftest import TOKEN, FakeAgent

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.types import Receive, Scope, Send

    Message = MutableMapping[str, Any]

CALLS = ["/redeploy", "/rollback", "/status", "/history", "/events", "/metrics", "/openapi.json", "/nothing", "//"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer " + "x" * len(TOKEN)},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN} {TOKEN}"},
        {"Cookie": f"token={TOKEN}", "X-Token": TOKEN},
    ],
)
async def test_who_does_not_know_the_token_is_refused_and_nothing_is_done(
    agent: FakeAgent, headers: dict[str, str]
) -> None:
    async with agent.client(headers) as client:
        answer = await client.post(f"/redeploy?token={TOKEN}&access_token={TOKEN}")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert TOKEN not in answer.text
    assert agent.asked == []


@pytest.mark.parametrize("path", CALLS)
async def test_every_path_but_that_of_the_page_wants_the_token(agent: FakeAgent, path: str) -> None:
    async with agent.client({}) as client:
        assert (await client.get(f"http://api{path}")).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_the_page_needs_no_token(agent: FakeAgent, method: str) -> None:
    async with agent.client({}) as client:
        assert (await client.request(method, "/")).status_code == 401
        assert (await client.get("/")).status_code == 200
        assert (await client.head("/")).status_code == 200


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
async def test_who_knows_the_token_is_let_in(agent: FakeAgent, value: str) -> None:
    async with agent.client({"Authorization": value}) as client:
        assert (await client.get("/status")).status_code == 200


async def test_two_tokens_at_once_are_refused(agent: FakeAgent) -> None:
    headers = [("Authorization", f"Bearer {TOKEN}")] * 2
    async with agent.client({}) as client:
        assert (await client.get("/status", headers=headers)).status_code == 401


async def test_callers_without_the_token_are_answered_one_after_another(agent: FakeAgent, autojump: object) -> None:
    app, statuses = agent.app(), []
    begun = trio.current_time()

    async def stranger() -> None:
        statuses.append((await exchange(app, [{"type": "http.request"}], path="/status"))[0]["status"])

    async with trio.open_nursery() as nursery:
        for _ in range(101):
            nursery.start_soon(stranger)
    assert statuses == [401] * 101
    assert trio.current_time() - begun == pytest.approx(100 * PACE_SECONDS)


async def test_a_caller_without_the_token_who_disconnects_delays_nobody(agent: FakeAgent, autojump: object) -> None:
    app = agent.app()
    gone: list[Message] = [{"type": "http.request"}, {"type": "http.disconnect"}]
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange, app, [part(b"", more=False)])
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(100):
            assert await exchange(app, list(gone)) == []
        await exchange(app, [part(b"", more=False)])
    assert trio.current_time() - begun == pytest.approx(PACE_SECONDS)


async def test_strangers_do_not_keep_a_friend_waiting(agent: FakeAgent, autojump: object) -> None:
    app = agent.app()
    asked: Message = {"type": "http.request"}
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(exchange, app, [asked])
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        answer = await exchange(app, [{"type": "http.request"}], token=TOKEN)
        assert (answer[0]["status"], trio.current_time()) == (200, begun)


async def exchange(app: Guard, messages: list[Message], *, path: str = "/status", token: str = "") -> list[Message]:
    """Send a request in parts; nothing comes behind them."""
    sent: list[Message] = []
    parts = iter(messages)

    async def receive() -> Message:
        part = next(parts, None)
        if part is None:
            await trio.sleep_forever()
        assert part is not None
        return part

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await app({**scope, "method": "GET"} if path == "/status" else scope, receive, send)
    return sent


def part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(agent: FakeAgent) -> None:
    half = b" " * (BODY_BYTES // 2)
    whole = [part(half, more=True), part(half, more=False)]
    answer = await exchange(agent.app(), whole, path="/redeploy", token=TOKEN)
    assert answer[0]["status"] == 415
    for end in ([part(b" ", more=False)], [part(b" ", more=True)] * 5):
        beyond = [part(half, more=True), part(half, more=True), *end]
        answer = await exchange(agent.app(), beyond, path="/redeploy", token=TOKEN)
        assert answer[0]["status"] == 413
    assert agent.asked == []


@pytest.mark.parametrize("begun", [b"", b"{}", b'{"release":'])
async def test_an_incomplete_call_is_ignored(agent: FakeAgent, begun: bytes) -> None:
    broken_off: list[Message] = [part(begun, more=True), {"type": "http.disconnect"}]
    assert await exchange(agent.app(), broken_off, path="/redeploy", token=TOKEN) == []
    assert agent.asked == []


async def test_a_body_that_does_not_come_is_not_waited_for(agent: FakeAgent, autojump: object) -> None:
    begun = trio.current_time()
    answer = await exchange(agent.app(), [part(b"{", more=True)], path="/redeploy", token=TOKEN)
    assert answer[0]["status"] == 408
    assert trio.current_time() - begun == BODY_SECONDS


async def test_a_bug_is_a_problem_response_without_details() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError("the secret")

    answer = await exchange(Guard(broken, Token(TOKEN.encode())), [part(b"", more=False)], token=TOKEN)
    assert answer[0]["status"] == 500
    assert b"secret" not in answer[1]["body"]


async def test_a_websocket_is_closed(agent: FakeAgent) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await agent.app()({"type": "websocket"}, trio.sleep_forever, send)
    assert sent == [{"type": "websocket.close"}]
