"""What one agent says to the next, also across versions."""

from __future__ import annotations

import array
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.errors import UsageError
from rainbowd.listeners import UPGRADE_VARIABLE
from rainbowd.peers import LeaseCounts, Leases
from rainbowd.upgrade.messages import FORMAT
from rainbowd.upgrade.received_offer import receive_offer
from tests.formats import FORMATS, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rainbowd.peers import Channel


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The old agent's end, and the new one's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def messages(version: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(version, "upgrade.jsonl").read_text().splitlines()]


def say(end: socket.socket, message: dict[str, Any], *, sockets: int) -> None:
    """Send a message, with descriptors for the lock, for stderr and for that many listening sockets."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(sockets)]
    files = [os.open(os.devnull, os.O_RDWR) for _ in range(2)]
    rights = array.array("i", [*files, *(sock.fileno() for sock in listening)])
    end.sendmsg([json.dumps(message).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    for sock in listening:
        sock.close()
    for file in files:
        os.close(file)


async def close(channel: Channel) -> None:
    channel.close()


@pytest.mark.parametrize("version", FORMATS)
def test_the_offer_of_every_version_is_accepted(line: tuple[socket.socket, socket.socket], version: int) -> None:
    offered, yours, leases = messages(version)
    say(line[0], offered, sockets=1)
    environ = {UPGRADE_VARIABLE: str(line[1].detach()), "OTHER": "x"}
    offer = receive_offer(environ)
    assert environ == {"OTHER": "x"}
    assert offer is not None
    assert (offer.pid, offer.state_dir, offer.soft_limit) == (28236, Path("/srv/.rainbowd"), 1024)
    assert [(one.asked, one.part) for one in offer.sockets] == [("127.0.0.1:7000", "proxy")]
    line[0].send(json.dumps(yours).encode())
    said = offer.accept()
    assert (said.live, said.leases) == (3, {3: LeaseCounts(2, 1, 1871)})
    assert Leases.read(leases).leases == {3: LeaseCounts(0, 1, 1873)}
    trio.run(close, offer.channel)
    for fd in (offer.lock_fd, offer.stderr_fd):
        os.close(fd)
    for one in offer.sockets:
        one.sock.close()


def test_an_offer_of_another_format_is_refused_with_what_to_do(line: tuple[socket.socket, socket.socket]) -> None:
    say(line[0], {**messages(FORMAT)[0], "format": FORMAT + 1, "version": "9.9"}, sockets=0)
    with pytest.raises(UsageError, match=r"rainbowd 9\.9 hands over in format 2.*restart the agent instead"):
        receive_offer({UPGRADE_VARIABLE: str(line[1].detach())})


def test_an_old_agent_that_has_exited_is_reported(line: tuple[socket.socket, socket.socket]) -> None:
    line[0].close()
    with pytest.raises(UsageError, match="the old agent exited"):
        receive_offer({UPGRADE_VARIABLE: str(line[1].detach())})


@pytest.mark.parametrize("value", ["", "x", "-1"])
def test_without_an_offer_this_is_an_ordinary_start(value: str) -> None:
    assert receive_offer({UPGRADE_VARIABLE: value}) is None
    assert receive_offer({}) is None
