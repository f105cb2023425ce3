"""Clients are accepted up to the limit, and no error of one ends the acceptor."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

import trio

from rainbowd.proxy import acceptor
from tests.proxy.scripted import eventually, setting

if TYPE_CHECKING:
    import socket

    import pytest

    from tests.proxy.conftest import Line


class Exhausted:
    """A listening socket that has no descriptor for a connection, for some tries."""

    def __init__(self, sock: socket.socket, tries: int) -> None:
        self.sock = sock
        self.tries = tries
        self.accepts = 0

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.accepts += 1
        if self.accepts <= self.tries:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.sock.accept()

    def fileno(self) -> int:
        return self.sock.fileno()


async def test_a_limit_longer_than_a_socket_option_holds_is_no_error() -> None:
    async with setting(limits={"idle_timeout": 1e9}) as here:
        client = await here.client()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.app.answer)
            assert (await client.ask()).status == 200


async def test_the_limit_on_connections_answers_503() -> None:
    async with setting(limits={"connections": 2}) as here:
        here.serve()
        first, second = await here.client(), await here.client()
        assert (await first.ask()).status == 200
        assert (await second.ask()).status == 200
        for _ in range(5):
            third = await here.client()
            response = await third.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert (response.status, response[b"connection"]) == (503, b"close")
            assert int(response[b"retry-after"]) > 0
            assert await third.rest() == b""
        first.close()
        await eventually(lambda: len(here.context.clients.served) < 2)
        assert (await (await here.client()).ask()).status == 200


async def test_a_crowd_beyond_the_limit_neither_stalls_accept_nor_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "_REJECTED_MAX", 5)
    async with setting(limits={"connections": 1}) as here:
        here.serve()
        first = await here.client()
        assert (await first.ask()).status == 200
        statuses: list[int] = []

        async def come() -> None:
            with contextlib.suppress(OSError):  # as the rest of the crowd gets no answer
                client = await here.client()
                statuses.append((await client.message()).status)

        async with trio.open_nursery() as crowd:
            for _ in range(20):
                crowd.start_soon(come)
        assert set(statuses) == {503}
        assert 5 <= len(statuses) < 20
        assert (await first.ask()).status == 200


async def test_running_out_of_descriptors_neither_spins_nor_kills(lines: list[Line]) -> None:
    async with setting() as here:
        here.serve()
        exhausted = Exhausted(here.listener.sock, 3)
        here.listener.sock = exhausted  # type: ignore[assignment]
        client = await here.client()  # the wait on the real one ends with this
        assert (await client.ask()).status == 200
        second = await here.client()
        assert (await second.ask()).status == 200
        assert 4 <= exhausted.accepts < 10
        here.listener.sock = exhausted.sock
    assert [event for _, event, _ in lines] == ["cannot accept connections"]


async def test_an_aborted_connection_in_the_queue_is_passed_over() -> None:
    async with setting() as here:
        here.serve()
        for _ in range(50):
            (await here.client()).reset()
        assert (await (await here.client()).ask()).status == 200
