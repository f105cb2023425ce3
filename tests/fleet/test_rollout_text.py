"""The lines that ``rainbowd fleet deploy`` prints."""

from __future__ import annotations

from typing import Any

import pytest

from rainbowd.cli.fleet.rollout_text import ending, headline, steps
from rainbowd.fleet.documents import Documents
from rainbowd.fleet.engine import Snapshot
from rainbowd.fleet.models import Member, Order, Phase, Presence, Progress, State, Turn

WAVES = (("web1",), ("web2", "web3"))
ORDER = Order(id=17, request="r", release="v42", previous="v41", by="ann@ci", at="", waves=WAVES, bake=10)
PRESENT = {name: Presence(machine=name, version="1") for name in ("web1", "web2", "web3")}
MEMBERS = {name: Member(release="v41") for name in (*PRESENT, "web6")}
DOCUMENTS = Documents(Snapshot(1, {}), present=PRESENT, members=MEMBERS)


def progress(phase: Phase, wave: int = 0, reason: str | None = None, **states: State) -> Progress:
    turns = {name: Turn(state=state, reason="exited" if state.is_bad else None) for name, state in states.items()}
    return Progress(order=17, phase=phase, wave=wave, members=turns, reason=reason)


def test_the_headline_names_the_waves_and_who_is_absent() -> None:
    assert headline(ORDER, DOCUMENTS) == (
        "rollout 17 of v42 by ann@ci over 3 members: web1 | web2 web3, one at a time; web6 is absent"
    )


@pytest.mark.parametrize(
    ("before", "now", "lines"),
    [
        (None, progress(Phase.PREPARING), []),
        (
            progress(Phase.PREPARING),
            progress(Phase.ROLLING, web1=State.PREPARED, web2=State.PREPARED, web3=State.PREPARED),
            ["3 members have v42"],
        ),
        (progress(Phase.ROLLING), progress(Phase.ROLLING, web1=State.CLAIMED), ["web1 deploys"]),
        (
            progress(Phase.ROLLING, web1=State.CLAIMED),
            progress(Phase.BAKING, web1=State.LIVE),
            ["web1 is live on v42", "wave 1 bakes for 10 s"],
        ),
        (
            progress(Phase.ROLLING, 1, web1=State.LIVE),
            progress(Phase.ROLLING, 1, web1=State.LIVE, web2=State.CLAIMED),
            ["wave 2: web2 deploys"],
        ),
        (
            progress(Phase.ROLLING, 1, web1=State.LIVE, web2=State.CLAIMED, web3=State.PREPARED),
            progress(Phase.ROLLING, 1, web1=State.LIVE, web3=State.CLAIMED, web2=State.LIVE),
            ["web2 is live on v42", "web3 deploys"],
        ),
        (
            progress(Phase.ROLLING, 1, web1=State.LIVE, web2=State.CLAIMED),
            progress(Phase.ROLLING_BACK, 1, web1=State.LIVE, web2=State.FAILED),
            ["web2: failed: exited", "  KeyError", "going back: web1"],
        ),
        (
            progress(Phase.ROLLING_BACK, web1=State.REVERTING),
            progress(Phase.ROLLING_BACK, web1=State.REVERTED),
            ["web1 is back"],
        ),
    ],
)
def test_each_step_is_a_line(before: Progress | None, now: Progress, lines: list[str]) -> None:
    failed: dict[str, Any] = {**MEMBERS, "web2": Member(release="v41", output=("KeyError",))}
    seen = Documents(Snapshot(1, {}), present=PRESENT, members=failed)
    assert list(steps(ORDER, before, now, seen)) == lines


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (
            progress(Phase.SUCCEEDED, web1=State.LIVE, web2=State.LIVE, web3=State.LIVE),
            "v42 is live on 3 members, after 20.1 s; not on web6, which will get it later",
        ),
        (
            progress(Phase.ROLLED_BACK, reason="web3: exited", web1=State.REVERTED, web3=State.FAILED),
            "v42 failed on web3: the fleet is on v41 again, after 20.1 s: web3: exited",
        ),
        (
            progress(Phase.HALTED, reason="web3: exited", web1=State.LIVE, web3=State.FAILED),
            "v42 failed on web3: halted with v42 on web1, after 20.1 s: web3: exited",
        ),
        (
            progress(Phase.FAILED, reason="web3: no disk", web3=State.FAILED),
            "v42 failed on web3: nothing was deployed, after 20.1 s: web3: no disk",
        ),
    ],
)
def test_the_last_line_says_what_the_fleet_runs(now: Progress, line: str) -> None:
    assert ending(ORDER, now, DOCUMENTS, 20.14) == line
