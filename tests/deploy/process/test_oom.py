from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rainbowd.deploy.process import oom
from tests.accounts import USER, becoming

OURS = Path("/proc/self/oom_score_adj")


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of our own value, which only CAP_SYS_RESOURCE may lower."""
    file = tmp_path / "oom_score_adj"
    monkeypatch.setattr(oom, "_OWN", file)
    monkeypatch.setattr(oom, "_given", [])
    monkeypatch.setattr(oom, "_started_with", [])
    return file


@pytest.mark.parametrize(("given", "lowered"), [(0, -500), (300, -200), (-900, -999)])
def test_an_agent_is_less_likely_to_be_killed_than_its_apps(own: Path, given: int, lowered: int) -> None:
    own.write_text(f"{given}\n")
    oom.protect_agent()
    assert int(own.read_text()) == lowered
    assert oom._given == [given]


@pytest.mark.parametrize("given", [-999, -1000])
def test_one_that_cannot_be_lowered_stays_as_it_is(own: Path, given: int) -> None:
    own.write_text(str(given))
    oom.protect_agent()
    assert int(own.read_text()) == given
    assert oom._given == []


@pytest.mark.parametrize("is_there", [True, False])
def test_an_agent_that_cannot_lower_it_continues(own: Path, is_there: bool) -> None:
    if is_there:
        own.mkdir()
    oom.protect_agent()
    oom.restore(os.getpid())
    assert oom._given == []


@pytest.mark.parametrize(("given", "apps"), [(-100, [0]), (0, []), (300, [])])
def test_apps_do_not_keep_a_score_that_a_unit_lowered_for_the_agent(
    own: Path, monkeypatch: pytest.MonkeyPatch, given: int, apps: list[int]
) -> None:
    own.write_text(str(given))
    monkeypatch.setattr(oom, "_lower", lambda _value: False)
    oom.protect_agent()
    assert oom._given == apps


def another_account() -> list[Any]:
    return [becoming(USER)] if os.geteuid() == 0 else []


@pytest.mark.parametrize("account", [{}, *another_account()], ids=lambda one: str(one.get("user", "own")))
def test_an_app_has_the_value_that_the_agent_was_started_with(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    higher = int(OURS.read_text()) + 21
    monkeypatch.setattr(oom, "_given", [higher])
    with subprocess.Popen(["sleep", "60"], **account) as child:
        oom.restore(child.pid)
        assert int(Path(f"/proc/{child.pid}/oom_score_adj").read_text()) == higher
        child.kill()
    oom.restore(child.pid)


@pytest.mark.parametrize("lowered_from", [[], [21]], ids=["by a unit", "by the agent"])
def test_a_new_agent_begins_with_what_the_one_before_was_started_with(
    lowered_from: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = int(OURS.read_text())
    monkeypatch.setattr(oom, "_given", [ours + 42])
    monkeypatch.setattr(oom, "_started_with", [ours + one for one in lowered_from])
    with subprocess.Popen(["sleep", "60"]) as child:
        oom.restore_agent(child.pid)
        assert int(Path(f"/proc/{child.pid}/oom_score_adj").read_text()) == ours + sum(lowered_from)
        child.kill()
