"""A client's connection as an exchange knows it."""

from __future__ import annotations

import pytest

from rainbowd.proxy.failures import ClientGone
from tests.proxy.alone import alone


class Running:
    """An exchange that records its cut."""

    is_cut = False

    def cut(self) -> None:
        self.is_cut = True

    def client_identity(self, by: str) -> bytes:
        return by.encode()


async def test_a_cut_and_a_question_about_the_client_reach_the_exchange_that_runs() -> None:
    async with alone() as parts:
        parts.client.cut()
        running = parts.client.exchange = Running()
        assert parts.client.client_identity("client") == b"client"
        parts.client.cut()
        assert running.is_cut
        parts.client.exchange = None


async def test_the_buffer_is_taken_once() -> None:
    async with alone() as parts:
        parts.client.buffer = b"rest"
        assert [parts.client.take_buffer() for _ in range(2)] == [b"rest", b""]
        assert parts.client.name == "192.0.2.7"


async def test_a_send_to_a_client_that_left_fails_as_such() -> None:
    async with alone() as parts:
        parts.far.close()
        with pytest.raises(ClientGone):
            await parts.client.send(b"x" * (1 << 20))
