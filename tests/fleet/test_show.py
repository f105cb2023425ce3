"""The table that ``rainbowd fleet`` prints."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rainbowd.cli.fleet.show import _text
from rainbowd.cli.terminal import DIM
from rainbowd.fleet.documents import Documents
from rainbowd.fleet.engine import Snapshot
from rainbowd.fleet.models import Member, Order, Phase, Presence, Progress, State, Turn

EVIL = "\x1b[2J"


@pytest.fixture(params=[Phase.ROLLING])
def lines(request: pytest.FixtureRequest) -> list[str]:
    """The lines about a rollout in its second wave, with a text of an attacker in each field that has room for one."""
    states = {"web1": State.LIVE, "web2": State.CLAIMED, "web3": State.PREPARED, "web4": State.FAILED}
    turns = {name: Turn(state=state, reason=EVIL if state.is_bad else None) for name, state in states.items()}
    waves = (("web1",), ("web2", "web3", "web4"))
    order = Order(id=7, request="r", release="v2", previous="v1", by=f"ann{EVIL}", note=EVIL, at=EVIL, waves=waves)
    documents = Documents(
        Snapshot(1, {}),
        order=order,
        progress=Progress(order=7, phase=request.param, wave=1, members=turns, reason=EVIL),
        present={name: Presence(machine=name, version="1") for name in states},
        members={name: Member(release=EVIL) for name in (*states, "web5")},
    )
    session: Any = SimpleNamespace(settings=SimpleNamespace(name="shop"))
    return _text(session, documents).splitlines()


def test_the_state_of_each_member_is_said_in_words(lines: list[str]) -> None:
    shown = {line.split()[0]: line for line in lines if line.startswith("web")}
    words = {"web1": "live", "web2": "deploys", "web3": "waits", "web4": "failed", "web5": "absent"}
    assert {name: line.split()[2] for name, line in shown.items()} == words
    assert lines[:2] == ["fleet shop: v1", "rollout 7 of v2: rolling, wave 2 of 2"]


@pytest.mark.parametrize("lines", [Phase.ROLLED_BACK], indirect=True)
def test_a_member_whose_turn_never_came_does_not_wait_after_the_rollout(lines: list[str]) -> None:
    assert [line.split()[2] for line in lines if line.startswith("web3")] == ["unchanged"]


def test_no_control_sequence_of_a_document_reaches_the_terminal(lines: list[str]) -> None:
    assert all(line.isprintable() for line in lines)
    assert sum(EVIL.encode("unicode_escape").decode() in line for line in lines) >= 7


def test_only_an_absent_member_is_dim_whatever_its_release_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainbowd.cli.fleet.show.painter", lambda: lambda style, text: f"<{style}>{text}")
    documents = Documents(
        Snapshot(1, {}),
        present={"web1": Presence(machine="web1", version="1")},
        members={"web1": Member(release="v1 absent"), "web2": Member(release="v1")},
    )
    session: Any = SimpleNamespace(settings=SimpleNamespace(name="shop"))
    shown = _text(session, documents).splitlines()
    assert [line.split(">")[0] for line in shown[-2:]] == ["<", f"<{DIM}"]
