from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.peers.messages import Cut, LeaseCounts, Leases, Live, Stop
from rainbowd.roster import GenerationView, RosterView, State

if TYPE_CHECKING:
    from rainbowd.peers import Message

VIEW = RosterView(
    generations=(
        GenerationView(3, Path("/srv/a"), TcpAddress("127.0.0.1", 20003), State.LIVE),
        GenerationView(4, Path("/srv/b"), UnixAddress(Path("/run/b.sock")), State.CANARY),
        GenerationView(2, Path("/srv/a"), TcpAddress("127.0.0.1", 20002), State.DRAINING),
    ),
    live=3,
    canary=4,
    share_percent=2.5,
    by="cookie:id",
    is_launch_due=False,
)
EMPTY = RosterView((), live=None, canary=None, share_percent=0.0, by="client", is_launch_due=True)


def through_json(message: Message, **other: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps({"kind": message.kind, **message.fields(), **other}))
    return content


@pytest.mark.parametrize(
    "message",
    [
        Stop(2.5),
        Cut(3, 7, tunnels=False),
        Leases({3: LeaseCounts(1, 2, 3, 4)}, 3, 9, {3: ["GET /: 500"]}, (3,)),
        Leases(),
        Live(5, VIEW),
        Live(6, EMPTY),
    ],
)
def test_a_message_is_the_same_after_json_also_with_fields_of_a_newer_version(message: Message) -> None:
    read = type(message).read(through_json(message, added="later"))
    assert read == message


def test_counts_of_a_newer_version_are_read() -> None:
    assert Leases.read({"leases": {"3": {"in_flight": 1, "later": 2}}}).leases == {3: LeaseCounts(in_flight=1)}


def test_a_version_that_sends_only_the_live_generation_is_understood() -> None:
    live = {"id": 3, "release": "/srv/a", "address": "127.0.0.1:20003"}
    message = Live.read({"number": 1, "live": live, "launch_due": False})
    assert message.view == RosterView(
        VIEW.generations[:1], 3, None, 0.0, "client", is_launch_due=False, is_partial=True
    )
    nothing = Live.read({"number": 2, "live": None, "launch_due": True}).view
    assert (nothing.generations, nothing.live, nothing.is_launch_due) == ((), None, True)
