"""The bookkeeping of edges: no wait outlasts what it waits for."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from rainbowd.proxy.reactor import Reactor
from rainbowd.proxy.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def wired() -> AsyncIterator[tuple[Wire, socket.socket]]:
    """A wire, and the other end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    near.setblocking(False)
    reactor = Reactor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        wire = Wire(reactor, near)
        with trio.fail_after(20):
            yield wire, far
        nursery.cancel_scope.cancel()
    wire.close()
    far.close()
    assert len(reactor) == 0


async def settle() -> None:
    """Let every event reach the reactor."""
    await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize("settled", [True, False])
async def test_what_was_sent_is_received_in_any_pieces(settled: bool) -> None:
    async with wired() as (wire, far):
        received = b""
        for number in range(20):
            far.send(b"%02d" % number)
            if settled:
                await settle()
            received += await wire.recv(1 + number % 3)
        while len(received) < 40:
            received += await wire.recv(1)
        assert received == b"".join(b"%02d" % number for number in range(20))


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("size", [1, 3, 10, 65536])
async def test_the_end_is_seen_wherever_the_reads_ended(size: int, settled: bool) -> None:
    async with wired() as (wire, far):
        far.send(b"0123456789")
        if settled:
            await settle()
        received = await wire.recv(size)
        far.shutdown(socket.SHUT_WR)
        if settled:
            await settle()
        while data := await wire.recv(size):
            received += data
        assert received == b"0123456789"
        assert await wire.recv() == b""
        await settle()
        assert (wire.has_ended, wire.is_gone) == (True, False)


async def test_a_reader_that_waits_is_woken_by_bytes_an_end_and_a_reset() -> None:
    async with wired() as (wire, far):
        for act in (lambda: far.send(b"x"), lambda: far.shutdown(socket.SHUT_WR)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.recv)
                await settle()
                assert wire.is_receiving
                act()
    async with wired() as (wire, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        with pytest.raises(ConnectionResetError):
            await wire.recv()
        await settle()
        assert wire.is_gone


async def test_the_end_is_reported_also_while_nobody_waits() -> None:
    async with wired() as (wire, far):
        told = trio.Event()
        wire.on_ended = told.set
        far.shutdown(socket.SHUT_WR)
        await told.wait()


async def test_a_sender_waits_for_room() -> None:
    async with wired() as (wire, far):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, b"x" * (32 << 20))
            await settle()
            assert wire.is_sending
            left = 32 << 20
            while left:
                left -= len(await trio.to_thread.run_sync(far.recv, 1 << 20))
        assert not wire.is_sending


async def test_a_sender_is_woken_by_a_reset() -> None:
    async with wired() as (wire, far), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(OSError, match=r"."):
                await wire.send(b"x" * (32 << 20))

        await settle()
        far.close()


async def test_what_finds_no_room_is_kept_and_goes_when_there_is_some() -> None:
    async with wired() as (wire, far):
        room, kept = trio.Event(), 1
        wire.on_writable = room.set
        while wire.send_or_keep(b"x" * 65536):
            kept += 1
        assert not wire.is_flushed
        received = 0
        while received < kept * 65536:
            received += len(await trio.to_thread.run_sync(far.recv, 1 << 20))
        await room.wait()
        assert wire.is_flushed
        assert wire.send_or_keep(b"more")


async def test_a_sender_and_an_idle_owner_are_notified_of_a_break() -> None:
    async with wired() as (wire, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        await settle()
        with pytest.raises(OSError, match=r"."):
            wire.send_or_keep(b"x" * 65536)


async def test_an_interruption_reaches_the_waiting_fiber() -> None:
    async with wired() as (wire, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            with pytest.raises(ZeroDivisionError):
                await wire.recv()

        await settle()
        assert wire.interrupt(ZeroDivisionError())


async def test_an_interruption_while_nobody_waits_reaches_the_next_that_would() -> None:
    async with wired() as (wire, far):
        far.send(b"x")
        assert not wire.interrupt(ZeroDivisionError())
        assert await wire.recv() == b"x"
        with pytest.raises(ZeroDivisionError):
            await wire.recv()
        far.send(b"y")
        assert await wire.recv() == b"y"


async def test_an_interruption_may_be_forgotten() -> None:
    async with wired() as (wire, far):
        wire.interrupt(ZeroDivisionError())
        wire.clear_interruption()
        far.send(b"x")
        await settle()
        assert await wire.recv() == b"x"


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    async with wired() as (wire, far):
        with trio.move_on_after(0.01):
            await wire.recv()
        assert not wire.is_receiving
        far.send(b"x")
        assert await wire.recv() == b"x"


async def test_input_is_seen_without_being_taken() -> None:
    async with wired() as (wire, far):
        assert not wire.has_input
        far.send(b"x")
        assert wire.has_input
        assert await wire.recv() == b"x"
        assert not wire.has_input
        far.shutdown(socket.SHUT_WR)
        assert wire.has_input


async def test_a_second_close_and_a_reset_after_it_do_nothing() -> None:
    async with wired() as (wire, far):
        wire.close()
        wire.close()
        wire.reset()
        await wire.shut_down_sending()
        assert far.recv(1) == b""


async def test_a_reset_is_seen_as_one() -> None:
    async with wired() as (wire, far):
        wire.reset()
        with pytest.raises(ConnectionResetError):
            far.recv(1)
