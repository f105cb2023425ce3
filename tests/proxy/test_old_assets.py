"""Files that the live generation does not have, but another running one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.proxy import old_assets
from rainbowd.roster import State
from tests.proxy.scripted import OK, App, Message, Setting, eventually, setting

if TYPE_CHECKING:
    from collections.abc import Callable

ASSETS = (b"/assets/", b"/_next/static/")
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"
OLD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"


def get(path: bytes, method: bytes = b"GET", *fields: bytes) -> bytes:
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, path), b"Host: a", *fields, b"", b""])


async def old_and_new(
    here: Setting,
    old: bytes | Callable[[Message], bytes] = OLD,
    new: bytes | Callable[[Message], bytes] = MISSING,
    state: State = State.STANDBY,
) -> None:
    """Have a previous generation in ``state``, and a live one."""
    for answer in (old, new):
        if here.generations:
            await here.launch(promote=False)
            here.roster.promote(here.generation, live_at=0.0, previous=state)
        else:
            await here.launch()
        respond = (lambda _, answer=answer: answer) if isinstance(answer, bytes) else answer
        here.nursery.start_soon(here.app.serve, respond)


@pytest.mark.parametrize("state", [State.STANDBY, State.DRAINING])
@pytest.mark.parametrize("missing", [MISSING, MISSING.replace(b"404 Not Found", b"410 Gone")])
async def test_a_file_of_the_previous_release_is_found(state: State, missing: bytes) -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await old_and_new(here, new=missing, state=state)
        client = await here.client()
        for path in (b"/assets/app.1f0e.js", b"/_next/static/x?v=1"):
            assert (await client.ask(get(path))).body == b"old"
        await eventually(lambda: not any(one.holders for one in here.generations))


@pytest.mark.parametrize(
    "request_data",
    [
        get(b"/other/app.js"),
        get(b"/assets"),
        get(b"/assets/app.js", b"OPTIONS"),
        get(b"/assets/app.js", b"DELETE"),
        b"POST /assets/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        b"GET /assets/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
async def test_other_paths_and_methods_are_not_requested(request_data: bytes) -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await old_and_new(here)
        assert (await (await here.client()).ask(request_data)).body == b"gone"
        assert here.generations[0].holders == set()


async def test_without_assets_a_404_costs_nothing_elsewhere() -> None:
    async with setting(live=False) as here:
        await old_and_new(here)
        assert (await (await here.client()).ask(get(b"/assets/x"))).status == 404
        assert here._apps[0].accepted == 0


@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden", b"500 Failed"])
async def test_any_other_answer_of_the_chosen_generation_is_final(status: bytes) -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await old_and_new(here, new=MISSING.replace(b"404 Not Found", status))
        assert (await (await here.client()).ask(get(b"/assets/x"))).body == b"gone"
        assert here._apps[0].accepted == 0


async def test_a_file_that_nobody_has_gets_the_first_answer_and_its_connection_is_used_again() -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await old_and_new(here, old=MISSING.replace(b"gone", b"nope"))
        client = await here.client()
        for _ in range(3):
            assert (await client.ask(get(b"/assets/x"))).body == b"gone"
        assert here.app.accepted == 1


async def test_three_generations_are_asked_at_most_the_newest_first() -> None:
    asked: list[int] = []
    async with setting(live=False, assets=ASSETS) as here:
        for number in range(6):
            await here.launch()

            def respond(_: Message, number: int = number + 1) -> bytes:
                asked.append(number)
                return MISSING

            here.nursery.start_soon(here.app.serve, respond)
        assert (await (await here.client()).ask(get(b"/assets/x"))).status == 404
        assert asked == [6, 5, 4, 3]


async def test_a_canary_and_the_live_generation_find_the_files_of_each_other() -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await here.launch()
        here.nursery.start_soon(here.app.serve, lambda message: OLD if b"old" in message.line else MISSING)
        await here.launch(promote=False)
        here.nursery.start_soon(here.app.serve, lambda message: OK if b"new" in message.line else MISSING)
        here.roster.give_share(here.generation, share_percent=50, by="client")
        seen = set()
        for number in range(20):
            client = await here.client()
            forwarded = b"X-Forwarded-For: 192.0.2.%d" % number
            assert (await client.ask(get(b"/assets/old", b"GET", forwarded))).body == b"old"
            assert (await client.ask(get(b"/assets/new", b"GET", forwarded))).body == b"ok"
            client.close()
            seen.add(here.generation.requests > 0)
        assert True in seen


async def test_head_ranges_conditionals_and_compressed_answers_pass_as_they_are() -> None:
    answers = {
        b"HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n",
        b"Range": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/3\r\nContent-Length: 2\r\n\r\nol",
        b"If-None-Match": b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',
        b"Accept-Encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\ngz!\r\n0\r\n\r\n",
    }

    def respond(message: Message) -> bytes:
        names = [name for name, _ in message.fields]
        return next(answer for key, answer in answers.items() if message.line.startswith(key) or key in names)

    def missing(message: Message) -> bytes:
        return MISSING[:-4] if message.line.startswith(b"HEAD") else MISSING

    async with setting(live=False, assets=ASSETS) as here:
        await old_and_new(here, old=respond, new=missing)
        client = await here.client()
        head = await client.ask(get(b"/assets/x", b"HEAD"), bodiless=True)
        assert (head.status, head[b"content-length"]) == (200, b"300")
        part = await client.ask(get(b"/assets/x", b"GET", b"Range: bytes=0-1"))
        assert (part.status, part.body, part[b"content-range"]) == (206, b"ol", b"bytes 0-1/3")
        same = await client.ask(get(b"/assets/x", b"GET", b'If-None-Match: "1"'), bodiless=True)
        assert same.status == 304
        zipped = await client.ask(get(b"/assets/x", b"GET", b"Accept-Encoding: gzip"))
        assert (zipped.body, zipped[b"content-encoding"]) == (b"gz!", b"gzip")


async def test_interim_answers_of_an_old_generation_are_not_passed_on() -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await old_and_new(here, old=b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OLD)
        answer = await (await here.client()).ask(get(b"/assets/x"))
        assert (answer.status, answer.body) == (200, b"old")


@pytest.mark.parametrize("broken", [b"HTTP/1.1 200 O", b"what?\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n"])
async def test_an_old_generation_that_cannot_answer_is_passed_over(broken: bytes) -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await here.launch()
        here.nursery.start_soon(answer_and_close, here.app, broken)
        await here.launch()
        here.nursery.start_soon(here.app.serve, lambda _: MISSING)
        assert (await (await here.client()).ask(get(b"/assets/x"))).body == b"gone"


async def answer_and_close(app: App, answer: bytes) -> None:
    peer, _ = await app.answer(answer)
    peer.close()


async def test_a_slow_old_generation_does_not_delay_the_answer_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_assets, "SEARCH_SECONDS", 0.1)
    async with setting(live=False, assets=ASSETS) as here:
        await here.launch()  # accepts, and never answers
        await here.launch()
        here.nursery.start_soon(here.app.serve, lambda _: MISSING)
        client = await here.client()
        for _ in range(2):
            assert (await client.ask(get(b"/assets/x"))).body == b"gone"
        await eventually(lambda: not here.generations[0].holders)


async def test_an_old_generation_that_refuses_is_passed_over() -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await here.launch()
        here.app.close()
        await here.launch()
        here.nursery.start_soon(here.app.serve, lambda _: MISSING)
        assert (await (await here.client()).ask(get(b"/assets/x"))).body == b"gone"
        assert here.generations[0].errors == 0


async def test_a_client_that_leaves_during_the_search_ends_it() -> None:
    async with setting(live=False, assets=ASSETS) as here:
        await here.launch()
        await here.launch()
        here.nursery.start_soon(here.app.serve, lambda _: MISSING)
        client = await here.client()
        await client.send(get(b"/assets/x"))
        await eventually(lambda: bool(here.generations[0].holders))
        client.reset()
        await eventually(lambda: not any(one.holders for one in here.generations))


async def test_a_large_old_file_streams_whole() -> None:
    body = bytes(range(256)) * 20_000
    async with setting(live=False, assets=ASSETS) as here:
        await old_and_new(here, old=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await (await here.client()).ask(get(b"/assets/x"))).body == body
