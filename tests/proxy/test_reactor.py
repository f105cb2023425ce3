from __future__ import annotations

import contextlib
import select
import socket
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from rainbowd.proxy import reactor as module
from rainbowd.proxy.fiber import Fibers
from rainbowd.proxy.reactor import READABLE, Reactor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Ear:
    """Hears of a socket's events, and takes what came."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.heard = b""
        self.came = trio.Event()

    def on_events(self, events: int) -> None:
        if events & READABLE:
            with contextlib.suppress(BlockingIOError):
                self.heard += self.sock.recv(100)
            self.came.set()

    def flush(self) -> None: ...

    def close(self) -> None: ...


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[Reactor, Ear, socket.socket]]:
    """A reactor that runs, who is registered at it, and the other end of his socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reactor, ear = Reactor(), Ear(ours)
        reactor.register(ours, ear)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reactor.run)
                yield reactor, ear, theirs
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_public", [False, True], ids=["trio's own epoll", "awaiting"])
async def test_registered_sockets_are_notified_while_all_tasks_sleep(
    monkeypatch: pytest.MonkeyPatch, *, is_public: bool
) -> None:
    if is_public:
        without_context = ModuleType("trio._core._run")
        without_context.__file__ = trio.__file__
        monkeypatch.setitem(sys.modules, "trio._core._run", without_context)
    async with listening() as (_, ear, theirs):
        for word in (b"one", b"two"):
            ear.came = trio.Event()
            theirs.send(word)
            await ear.came.wait()
        assert ear.heard == b"onetwo"


async def test_remaining_events_are_reported_again_on_request() -> None:
    async with listening() as (reactor, ear, theirs):
        theirs.send(b"x" * 150)
        for heard in (100, 150):
            ear.came = trio.Event()
            reactor.rearm(ear.sock)
            await ear.came.wait()
            assert len(ear.heard) == heard


class Voice:
    """Tells when what it has to send goes out."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def on_events(self, events: int) -> None: ...

    def flush(self) -> None:
        self._told.append("sent")

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("count", "order"),
    [(1, ["says", "sent", "goes on"]), (2, ["says", "goes on", "says", "goes on", "sent", "sent"])],
    ids=["the only one", "one of two"],
)
async def test_who_has_a_turn_alone_sends_at_once_and_others_when_all_had_theirs(count: int, order: list[str]) -> None:
    reactor, told = Reactor(), list[str]()

    async def speak() -> None:
        told.append("says")
        reactor.flush_soon(Voice(told))
        told.append("goes on")

    async with trio.open_nursery() as nursery:
        with contextlib.closing(Fibers(reactor, nursery)) as fibers:
            for _ in range(count):
                fibers.start(speak())
            nursery.start_soon(reactor.run)
            await trio.testing.wait_all_tasks_blocked()
            assert told == order


async def test_this_trio_ends_its_waits_for_us_without_a_task() -> None:
    """Where it does not any more, all works still, but a request costs more: find another way."""
    with select.epoll() as ours:
        theirs = module._interrupt_trio_by(ours)
        assert theirs is not None
        theirs.unregister(ours.fileno())
