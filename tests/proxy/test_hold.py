"""Requests while nothing is live, and cuts where draining takes too long."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from rainbowd.address import Address, sockaddr
from rainbowd.broadcast import Broadcast
from rainbowd.http1 import Refusal
from rainbowd.proxy import upstream
from rainbowd.proxy.hold import HeldRequest
from rainbowd.proxy.reactor import READABLE, WRITABLE
from rainbowd.roster import State
from tests.proxy.scripted import GET, OK, Peer, Setting, eventually, setting

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


async def held(here: Setting, count: int = 1, request: bytes = GET) -> list[Peer]:
    """Clients whose requests wait."""
    clients = [await here.client() for _ in range(count)]
    for client in clients:
        await client.send(request)
    await eventually(lambda: len(here.context.held_requests) == count)
    return clients


@pytest.mark.parametrize("request_data", [GET, POST])
async def test_a_request_waits_for_a_launch_that_is_due(request_data: bytes) -> None:
    async with setting(live=False) as here:
        here.roster.hold_while(lambda: True)
        (client,) = await held(here, request=request_data)
        await here.launch()
        here.serve()
        assert (await client.message()).body == b"ok"


async def test_without_a_launch_that_is_due_nobody_waits() -> None:
    async with setting(live=False) as here:
        client = await here.client()
        for _ in range(2):
            response = await client.ask()
            assert (response.status, int(response[b"retry-after"]) > 0) == (503, True)


async def test_a_launch_that_failed_ends_the_wait() -> None:
    async with setting(live=False) as here:
        here.roster.hold_while(lambda: True)
        (client,) = await held(here)
        here.roster.hold_while(lambda: False)
        assert (await client.message()).status == 503


async def test_the_wait_ends_in_a_503_when_its_time_is_over() -> None:
    async with setting(live=False, hold={"timeout": 0.2}) as here:
        here.roster.hold_while(lambda: True)
        (client,) = await held(here)
        response = await client.message()
        assert (response.status, int(response[b"retry-after"]) > 0) == (503, True)


async def test_changes_that_bring_nothing_do_not_stretch_the_wait() -> None:
    async with setting(live=False, hold={"timeout": 0.3}) as here:
        here.roster.hold_while(lambda: True)
        (client,) = await held(here)
        began = time.monotonic()
        while len(here.context.held_requests):
            here.roster.notify_observers()
            await trio.sleep(0.02)
            assert time.monotonic() - began < 3
        assert (await client.message()).status == 503


async def test_no_more_than_the_limit_may_wait() -> None:
    async with setting(live=False, hold={"limit": 3}) as here:
        here.roster.hold_while(lambda: True)
        clients = await held(here, 3)
        assert (await (await here.client()).ask()).status == 503
        await here.launch()
        here.serve()
        for client in clients:
            assert (await client.message()).body == b"ok"


async def test_a_client_that_leaves_waits_no_more() -> None:
    async with setting(live=False) as here:
        here.roster.hold_while(lambda: True)
        (client,) = await held(here)
        client.reset()
        await eventually(lambda: len(here.context.held_requests) == 0)
        (client,) = await held(here)
        await client.fin()
        await eventually(lambda: len(here.context.held_requests) == 0)


@pytest.mark.parametrize("request_data", [GET, POST])
async def test_a_refused_connect_is_held_until_the_app_is_back(request_data: bytes) -> None:
    async with setting() as here:
        generation = here.generation
        here.app.close()
        (client,) = await held(here, request=request_data)
        app = here.replace_app()
        await app.listen()
        here.serve()
        assert (await client.message()).body == b"ok"
        assert generation.state is State.LIVE


async def test_a_connect_that_is_reset_as_its_listener_dies_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [ConnectionResetError(), BrokenPipeError()]

    def fail_at_first(address: Address) -> str | tuple[str, int]:
        if failures:
            raise failures.pop()
        return sockaddr(address)

    monkeypatch.setattr(upstream, "sockaddr", fail_at_first)
    async with setting() as here:
        here.serve()
        client = await here.client()
        await client.send(POST)
        assert (await client.message()).body == b"ok"


async def test_a_refused_connect_is_held_until_another_generation_is_live() -> None:
    async with setting() as here:
        first = here.generation
        here.app.close()
        (client,) = await held(here)
        here.roster.hold_while(lambda: True)
        here.roster.advance(first, State.STOPPING)
        await here.launch()
        here.serve()
        assert (await client.message()).body == b"ok"
        assert first.holders == set()


async def test_a_second_of_refusing_counts_as_death() -> None:
    async with setting() as here:
        died = trio.Event()
        here.generation.on_refusing = died.set
        here.app.close()
        (client,) = await held(here)
        await died.wait()
        here.roster.advance(here.generation, State.STOPPING)
        assert (await client.message()).status == 503


async def test_a_refusing_app_is_given_up_when_the_wait_is_over() -> None:
    async with setting(hold={"timeout": 0.2}) as here:
        here.app.close()
        assert (await (await here.client()).ask()).status == 503


async def test_an_interruption_in_the_moment_of_a_change_is_not_lost() -> None:
    waiting, changed = HeldRequest(), Broadcast()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(ZeroDivisionError):
                await waiting.wait(changed)

        await trio.testing.wait_all_tasks_blocked()
        changed.notify()
        assert waiting.interrupt(ZeroDivisionError())


async def test_an_interruption_between_two_waits_is_not_lost() -> None:
    waiting = HeldRequest()
    await waiting.wait(Broadcast(), 0.0)
    waiting.interrupt(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await waiting.wait(Broadcast())


async def test_all_parts_of_a_wait_share_one_limit(autojump: object) -> None:
    waiting = HeldRequest(1.0)
    for _ in range(9):
        await waiting.wait(Broadcast(), 0.1)
    with pytest.raises(Refusal) as refused:
        await waiting.wait(Broadcast(), 0.2)
    assert refused.value.status == 503


# --- cut --------------------------------------------------------------------------------------------------------------


def cut(here: Setting) -> None:
    (holder,) = here.generation.holders
    holder.cut()


async def test_a_cut_before_the_answer_is_a_504() -> None:
    for request in (GET, POST, POST[:-2]):
        async with setting() as here:
            client, _ = await here.pair(request)
            cut(here)
            assert (await client.message()).status == 504


async def test_a_cut_of_a_sized_response_leaves_it_short() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        await client.until(b"short")
        cut(here)
        assert await client.ended()
        assert await peer.ended()


async def test_a_cut_of_a_chunked_response_leaves_out_the_last_chunk() -> None:
    for head in (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", b"HTTP/1.1 200 OK\r\n\r\nok"):
        async with setting() as here:
            client, peer = await here.pair()
            await peer.send(head)
            await client.until(b"2\r\nok\r\n")
            cut(here)
            assert await client.ended()


async def test_a_cut_of_a_response_that_ends_with_the_connection_is_a_reset() -> None:
    async with setting() as here:
        client, peer = await here.pair(b"GET / HTTP/1.0\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nok")
        await client.until(b"ok")
        cut(here)
        with pytest.raises(ConnectionResetError):
            await client.rest()


@pytest.mark.parametrize("length", [b"Content-Length: 1000000000\r\n", b""])
async def test_a_cut_reaches_a_client_that_does_not_read(length: bytes) -> None:
    async with setting() as here:
        client, peer = await here.pair()
        with trio.move_on_after(0.3):
            await peer.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + b"x" * (64 << 20))
        cut(here)
        await eventually(lambda: not here.generation.holders)
        assert not (await client.rest()).endswith(b"0\r\n\r\n")


async def test_a_cut_ends_an_upload_that_the_app_does_not_read() -> None:
    async with setting() as here:
        client, _ = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        with trio.move_on_after(0.3):
            await client.send(b"x" * (64 << 20))
        cut(here)
        assert (await client.head()).status == 504
        assert not here.generation.holders


@pytest.mark.parametrize("client_reads", [True, False])
async def test_a_cut_in_the_moment_that_the_exchange_is_woken_is_not_lost(client_reads: bool) -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nbegin")
        if client_reads:
            await client.until(b"begin")
        else:
            with trio.move_on_after(0.3):
                await peer.send(b"x" * (64 << 20))
        (connection,) = here.context.clients.served
        for wire in list(here.context.reactor._handlers.values()):
            wire.on_events(READABLE | WRITABLE)  # woken, and not yet run
        connection.cut()
        await eventually(lambda: not here.generation.holders)


async def test_the_end_of_the_last_lease_is_reported() -> None:
    async with setting() as here:
        idle = trio.Event()
        client, peer = await here.pair()
        here.generation.on_idle = idle.set
        await peer.send(OK)
        assert (await client.message()).body == b"ok"
        await idle.wait()
        assert not here.generation.holders
