from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from rainbowd.api.event_stream import KEEP_ALIVE_SECONDS, STREAMS_MAX
from rainbowd.report.journal import NAME, Journal, encode
from tests.api.conftest import ADMITTED, FakeAgent

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    import pytest

    from rainbowd.api.guard import Guard

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)


def write(agent: FakeAgent, *names: str) -> None:
    journal = Journal(agent.state_dir / NAME)
    for name in names:
        journal.append(encode(name, AT, number=1))
    written, agent.written = agent.written, trio.Event()
    written.set()


class Stream:
    """One request for the events; ``text`` is what came."""

    def __init__(self, agent: FakeAgent, method: str = "GET", app: Guard | None = None, **headers: str) -> None:
        self.text = ""
        self.status = 0
        self.ended = False
        self.left = trio.Event()
        self._app = app or agent.app()
        fields = [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        fields += [(b"authorization", ADMITTED["Authorization"].encode())]
        self._scope = {"type": "http", "method": method, "path": "/events", "query_string": b"", "headers": fields}
        self._asked = False

    async def run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b""}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()
        if message["type"] == "http.response.body":
            self.ended = not message.get("more_body", False)

    @property
    def events(self) -> list[str]:
        return [line.removeprefix("event: ") for line in self.text.splitlines() if line.startswith("event: ")]

    @property
    def last_id(self) -> str:
        return next(line for line in reversed(self.text.splitlines()) if line.startswith("id: ")).removeprefix("id: ")

    async def until(self, *names: str) -> None:
        """Wait until these events have come, and no others."""
        await until(lambda: self.events == list(names) and "retry: " in self.text)


async def until(look: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not look():  # noqa: ASYNC110 - what is looked at is the client's side
            await trio.sleep(0.001)


async def test_events_are_streamed_until_the_agent_ends(agent: FakeAgent) -> None:
    write(agent, "before")
    stream = Stream(agent)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.run)
        await stream.until()
        write(agent, "one", "two")
        await stream.until("one", "two")
        write(agent, "three")
        await stream.until("one", "two", "three")
        agent.stop.set()
    assert (stream.status, stream.ended) == (200, True)
    block = stream.text.split("\n\n")[1]
    assert block.splitlines()[0].startswith("id: 2026-11-23T10:00:00.000Z-")
    assert block.splitlines()[1:] == [
        "event: one",
        'data: {"at": "2026-11-23T10:00:00.000Z", "event": "one", "number": 1}',
    ]


async def test_a_client_that_reconnects_misses_nothing(agent: FakeAgent) -> None:
    write(agent, "one", "two")
    first = Stream(agent, last_event_id="2000-01-01T00:00:00Z")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        await first.until("one", "two")
        first.left.set()
    write(agent, "three")
    second = Stream(agent, last_event_id=first.last_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.run)
        await second.until("three")
        write(agent, "four")
        await second.until("three", "four")
        second.left.set()


async def test_an_invalid_last_event_id_is_refused(agent: FakeAgent) -> None:
    answer = await agent.call("GET", "/events", headers={"Last-Event-ID": "7"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_silence_is_broken_now_and_then(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainbowd.api.event_stream.KEEP_ALIVE_SECONDS", 0.01)
    stream = Stream(agent)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.run)
        await until(lambda: stream.text.count("\n: ") >= 3)
        stream.left.set()
    assert stream.events == []
    assert KEEP_ALIVE_SECONDS < 30


async def test_streams_are_limited_in_number(agent: FakeAgent) -> None:
    app = agent.app()
    streams = [Stream(agent, app=app) for _ in range(STREAMS_MAX + 1)]
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.run)
        await until(lambda: all(stream.status for stream in streams))
        assert sorted(stream.status for stream in streams) == [200] * STREAMS_MAX + [503]
        agent.stop.set()
    late = Stream(agent, app=app)
    await late.run()
    assert (late.status, late.ended) == (200, True)


async def test_the_head_alone_is_answered_at_once(agent: FakeAgent) -> None:
    stream = Stream(agent, method="HEAD")
    await stream.run()
    assert (stream.status, stream.ended, stream.text) == (200, True, "")
