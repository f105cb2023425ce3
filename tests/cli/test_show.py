from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rainbowd.cli import main
from rainbowd.report.journal import NAME, Journal, encode
from rainbowd.report.state_dir import prepare

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    (tmp_path / "rainbowd.json").write_text('{"state_dir": "state"}')
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path / "state")
    journal = Journal(tmp_path / "state" / NAME)

    def add(event: str, **fields: object) -> None:
        journal.append(encode(event, AT, **fields))

    add("deploy.requested", deploy="aaaa1111", release="/r/v1", trigger="file", by="ann", request="mine", note="one")
    add("generation.launched", deploy="aaaa1111", generation=1, release="/r/v1", pid=7, address="127.0.0.1:1")
    add("deploy.succeeded", deploy="aaaa1111", generation=1, release="/r/v1", seconds=0.5)
    add("deploy.requested", deploy="aaaa2222", release="/r/v2", trigger="file")
    add("hook.ended", deploy="aaaa2222", hook="before_launch", output=["\x1b[32mbuilt\x1b[0m"], exit_status=0)
    add("generation.launched", deploy="aaaa2222", generation=2, release="/r/v2", pid=8, address="127.0.0.1:2")
    add("deploy.failed", deploy="aaaa2222", generation=2, release="/r/v2", reason="it exited", output=["\ta trace"])
    add("generation.retired", generation=2, release="/r/v2", requests=0)
    return journal


@pytest.mark.usefixtures("record")
def test_a_deploy_is_shown_with_its_steps_and_the_output_of_its_hooks_and_its_app(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["show"]) == 0
    out = capsys.readouterr().out
    shown = [
        "deploy aaaa2222 of v2: failed",
        "requested 2026-11-23 10:00:00 UTC, /r/v2",
        "before_launch ended\n    built\n",
        "launched v2 as generation 2",
        "reason: it exited\nthe app's output:\n    \ta trace\n",
    ]
    places = [out.find(text) for text in shown]
    assert -1 not in places, out
    assert places == sorted(places)


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("name", ["aaaa1111", "aaaa1", "mine"])
def test_a_deploy_is_named_by_its_id_the_beginning_of_that_or_its_request(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["show", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["deploy"], found["note"], found["result"]) == ("aaaa1111", "one", "succeeded")
    assert [event["event"] for event in found["events"]] == [
        "deploy.requested",
        "generation.launched",
        "deploy.succeeded",
    ]


@pytest.mark.usefixtures("record")
def test_an_unknown_or_ambiguous_deploy_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for name, problem in (("bbbb", "no such deploy: bbbb"), ("aaaa", "the beginning of 2 deploys"), ("aa", "no such")):
        assert main(["show", name]) == 2
        assert problem in capsys.readouterr().err


@pytest.mark.usefixtures("record")
def test_the_output_of_a_generation_is_shown_as_long_as_it_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state" / "generation-1.boot").write_text("up\n")
    main(["show", "aaaa1111"])
    assert capsys.readouterr().out.endswith("the app's output:\n    up\n")


def test_without_a_deploy_there_is_nothing_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rainbowd.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert main(["show"]) == 2
    assert "no deploys recorded" in capsys.readouterr().err
