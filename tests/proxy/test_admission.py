"""Maintenance and pauses: the gate is closed for new requests, whatever is live."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
import trio

from rainbowd.proxy import Maintenance
from tests.proxy.scripted import GET, OK, eventually, setting

BROWSER = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*;q=0.8\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<h1>Back soon</h1>", b"text/html; charset=utf-8"),
        (b"\xef\xbb\xbf \n<!doctype html>", b"text/html; charset=utf-8"),
        (b"Back at 10.\n", b"text/plain; charset=utf-8"),
    ],
)
async def test_maintenance_answers_every_request_with_its_content(content: bytes, kind: bytes) -> None:
    async with setting() as here:
        here.context.admission.set(Maintenance(content, 120), None)
        client = await here.client()
        for _ in range(2):
            answer = await client.ask()
            assert (answer.status, answer.body, answer[b"retry-after"]) == (503, content, b"120")
            assert answer[b"content-type"] == kind
        head = await client.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", bodiless=True)
        assert head[b"content-length"] == str(len(content)).encode()
        assert here.app.nothing_waits()
        assert here.generation.errors == 0


async def test_without_content_maintenance_has_a_text_of_its_own() -> None:
    async with setting() as here:
        here.context.admission.set(Maintenance(b"", 0), None)
        answer = await (await here.client()).ask()
        assert (answer.status, answer.body) == (503, b"The site is down for maintenance.\n")


async def test_clients_that_are_allowed_pass_and_the_end_of_maintenance_lets_all_pass() -> None:
    async with setting() as here:
        here.serve()
        here.context.admission.set(Maintenance(b"closed", 5, (ip_network("192.0.2.0/24"),)), None)
        client = await here.client()
        forwarded = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %b\r\n\r\n"
        assert (await client.ask(forwarded % b"192.0.2.9")).status == 200
        assert (await client.ask(forwarded % b"198.51.100.9")).status == 503
        here.context.admission.set(None, None)
        assert (await client.ask(forwarded % b"198.51.100.9")).status == 200


async def test_a_request_in_flight_is_finished_during_maintenance() -> None:
    async with setting() as here:
        client, app = await here.pair()
        here.context.admission.set(Maintenance(b"closed", 5), None)
        await app.send(OK)
        assert (await client.message()).status == 200


async def test_a_pause_holds_new_requests_until_its_end() -> None:
    async with setting() as here:
        client, app = await here.pair()
        here.context.admission.set(None, 10.0)
        waiting = await here.client()
        await waiting.send(GET)
        await eventually(lambda: len(here.context.held_requests) == 1)
        await app.send(OK)
        assert (await client.message()).status == 200
        assert not here.generation.holders
        here.serve(app)
        here.context.admission.set(None, None)
        assert (await waiting.message()).status == 200


async def test_a_request_waits_no_longer_than_the_pause_says() -> None:
    async with setting() as here:
        here.context.admission.set(None, 0.1)
        answer = await (await here.client()).ask()
        assert (answer.status, b"retry-after" in answer) == (503, True)


async def test_maintenance_that_begins_during_a_pause_answers_those_that_wait() -> None:
    async with setting() as here:
        here.context.admission.set(None, 60.0)
        client = await here.client()
        await client.send(GET)
        await eventually(lambda: len(here.context.held_requests) == 1)
        here.context.admission.set(Maintenance(b"closed", 5), 60.0)
        with trio.fail_after(20):
            assert (await client.message()).body == b"closed"
