from __future__ import annotations

import contextlib
import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from rainbowd.proxy.gc_tuning import rare_collections
from tests.proxy.scripted import GET, OK, eventually, setting
from tests.proxy.test_tunnel import SWITCHING, UPGRADE, flows, open_tunnel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.proxy.scripted import Setting

HEAD = GET.replace(b"GET", b"HEAD")
CLOSING = GET.replace(b"a\r\n", b"a\r\nConnection: close\r\n")
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n"
DOWNLOAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


class Node:
    """Of a cycle."""

    def __init__(self) -> None:
        self.self = self


def test_what_requests_leave_is_collected_though_seldom_and_all_is_as_before_in_the_end() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_freeze_count() > 0
        first = weakref.ref(Node())
        others = [[] for _ in range(before[0] * 2)]  # type: ignore[var-annotated]
        assert first() is not None
        others += [[] for _ in range(gc.get_threshold()[0])]
        assert first() is None
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


# --- each way that a request may go ---------------------------------------------------------------------------------


async def kept(here: Setting) -> None:
    client, peer = await here.pair()
    for _ in range(3):
        await peer.send(OK)
        assert (await client.message()).status == 200
        await client.send(GET)
        await peer.head()
    await peer.send(OK)
    assert (await client.message()).status == 200


async def pipelined(here: Setting) -> None:
    client, peer = await here.pair(GET * 3)
    for _ in range(2):
        await peer.send(OK)
        await peer.head()
        assert (await client.message()).status == 200
    await peer.send(OK)
    assert (await client.message()).status == 200


async def pooled_and_dead(here: Setting) -> None:
    client, peer = await here.pair()
    await peer.send(OK)
    await client.message()
    await client.send(GET)
    await peer.head()
    peer.close()
    await here.app.answer()
    assert (await client.message()).status == 200


async def uploaded_in_parts(here: Setting) -> None:
    client, peer = await here.pair(CHUNKED)
    await client.send(b"1\r\na\r\n")
    await peer.until(b"a\r\n")
    await client.send(b"0\r\n\r\n")
    await peer.until(b"0\r\n\r\n")
    await peer.send(OK)
    assert (await client.message()).status == 200


async def downloaded_by_a_slow_client(here: Setting) -> None:
    client, peer = await here.pair()
    await peer.send(DOWNLOAD)
    here.nursery.start_soon(peer.send, b"x" * 5_000_000)
    await client.message()


async def hinted(here: Setting) -> None:
    client, peer = await here.pair()
    await peer.send(INTERIM + OK)
    assert (await client.head()).status == 103
    assert (await client.message()).status == 200


async def held(here: Setting) -> None:
    live, here.roster.live = here.roster.live, None
    here.roster.hold_while(lambda: True)
    client = await here.client()
    await client.send(GET)
    await eventually(lambda: len(here.context.held_requests) > 0)
    here.roster.live = live
    here.roster.hold_while(lambda: False)
    await here.app.answer()
    assert (await client.message()).status == 200


async def tunnelled(here: Setting) -> None:
    client, peer = await here.pair(UPGRADE)
    await peer.send(SWITCHING + b"hello")
    await client.until(b"hello")
    await client.fin()
    await peer.rest()


async def tunnelled_and_cut(here: Setting) -> None:
    client, _ = await open_tunnel(here)
    next(iter(here.generation.tunnels)).cut()
    await client.rest()


async def tunnelled_and_reset(here: Setting) -> None:
    client, peer = await open_tunnel(here)
    await flows(client, peer)
    client.reset()


async def sent_by_a_client_that_goes(here: Setting) -> None:
    client, _ = await here.pair()
    client.reset()


async def sent_in_part_by_a_client_that_goes(here: Setting) -> None:
    client, _ = await here.pair(UPLOAD + b"x" * 100_000)
    client.reset()


async def sent_in_chunks_that_are_none(here: Setting) -> None:
    client, _ = await here.pair(CHUNKED)
    assert (await client.ask(b"zz\r\n")).status == 400


async def answered_in_part(here: Setting) -> None:
    client, peer = await here.pair()
    await peer.send(DOWNLOAD + b"x" * 100_000)
    await client.head()
    peer.reset()
    with contextlib.suppress(OSError):
        await client.rest()


async def sent_too_late(here: Setting) -> None:
    client = await here.client()
    assert (await client.ask(b"GET")).status == 408


async def sent_in_part(here: Setting) -> None:
    client, _ = await here.pair(UPLOAD)
    assert (await client.message()).status == 408


async def not_answered(here: Setting) -> None:
    client, _ = await here.pair()
    assert (await client.message()).status == 504


def answered(request: bytes, response: bytes, status: int = 200) -> Callable[[Setting], Awaitable[None]]:
    async def way(here: Setting) -> None:
        client, peer = await here.pair(request)
        await peer.send(response)
        peer.close() if status == 502 else await peer.fin()
        assert (await client.message(bodiless=request is HEAD)).status == status

    return way


def refused(request: bytes) -> Callable[[Setting], Awaitable[None]]:
    async def way(here: Setting) -> None:
        client = await here.client()
        assert (await client.ask(request)).status == 400

    return way


WAYS = {
    **{
        way.__name__: way
        for way in (
            kept,
            pipelined,
            pooled_and_dead,
            uploaded_in_parts,
            downloaded_by_a_slow_client,
            hinted,
            held,
            tunnelled,
            tunnelled_and_cut,
            tunnelled_and_reset,
            sent_by_a_client_that_goes,
            sent_in_part_by_a_client_that_goes,
            sent_in_chunks_that_are_none,
            answered_in_part,
            sent_too_late,
            sent_in_part,
            not_answered,
        )
    },
    "closing": answered(CLOSING, OK),
    "with a body": answered(POST, OK),
    "with a body in chunks": answered(CHUNKED + b"1\r\na\r\n0\r\n\r\n", OK),
    "HEAD": answered(HEAD, OK[:-2]),
    "answered in chunks": answered(GET, CHUNKS + b"0\r\n\r\n"),
    "answered before it is whole": answered(UPLOAD, OK),
    "not answered": answered(GET, b"", 502),
    "answered with nonsense": answered(GET, b"nonsense\r\n\r\n", 502),
    "refused before it is whole": refused(b"GET / HTTP/1.1\nHost: a\n\n"),
    "refused": refused(b"GET / HTTP/1.1\r\n\r\n"),
    "refused for a field": refused(b"GET / HTTP/1.1\r\nHost: a\r\n%b: 1\r\n\r\n" % (b"x" * 9000)),
}

SLOW = {"sent_too_late", "sent_in_part", "not_answered"}
"""What takes a time limit to its end."""


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_no_request_leaves_anything_to_the_collector(way: Callable[[Setting], Awaitable[None]]) -> None:
    limits = {"head_timeout": 0.1, "body_timeout": 0.1, "response_timeout": 0.1} if way.__name__ in SLOW else {}
    async with setting(limits=limits) as here:
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await way(here)
            here.close()
            await eventually(lambda: not here.context.clients.served)
            gc.collect()
            left = [type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("rainbowd.")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.collect()
    assert left == []
