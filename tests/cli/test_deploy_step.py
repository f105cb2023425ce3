from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from rainbowd.cli.deploy_step import describe, describe_deploy, new_lines, remaining_lines
from rainbowd.cli.deploy_tracker import FAILED, DeployResult
from rainbowd.cli.outcome import print_outcome
from rainbowd.cli.terminal import printable


def deploying(**changes: object) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 12))  # its fraction is cut off
    usual = {"release": "/r/slowup", "step": "before_launch", "step_at": at, "last_check": None}
    return {**usual, "output": [], "output_lines": 0, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "before_launch, 12s"),
        ({"step": "plan"}, "preparing, 12s"),
        ({"step": "health", "last_check": "1.2.3.4:5 answered 503"}, "health check, 12s, last: 1.2.3.4:5 answered 503"),
        ({"step": "boot", "last_check": None}, "booting, 12s"),
        ({"step": "of a later version\x1b[2J"}, r"of a later version\x1b[2J, 12s"),
    ],
)
def test_a_step_has_its_name_its_time_and_the_last_check(
    changes: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    assert describe(deploying(**changes)) == words


@pytest.mark.parametrize(
    ("step", "share", "words"),
    [
        ("bake", {}, "bake, 30s, [##########----------] of 60 s: 80 requests, 3 failed"),
        (
            "canary",
            {"share": 5},
            "canary, 30s, [##########----------] of 60 s, 5 % of the clients: 80 requests, 3 failed",
        ),
    ],
)
def test_a_canary_and_a_bake_have_a_bar_and_their_counts(
    step: str, share: dict[str, int], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC).timestamp())
    judged = {"until": "2026-01-01T00:01:00.000Z", "requests": 80, "errors": 3}
    generations: list[dict[str, Any]] = [{"id": 1}, {"id": 2, step: judged, **share}]
    told = deploying(step=step, step_at="2026-01-01T00:00:00.000Z", generation=2)
    assert describe(told, generations) == words
    assert describe({**told, "generation": 3}, generations) == f"{step}, 30s", "of another generation"


def test_a_long_answer_to_a_check_is_shortened() -> None:
    assert len(describe(deploying(step="health", last_check="x" * 1000))) < 150


def test_the_deployed_release_is_named() -> None:
    assert describe_deploy(deploying()).startswith("deploying slowup: before_launch, ")
    assert describe_deploy(deploying(release=None)).startswith("deploying a release: ")


def test_the_lines_of_a_hook_that_are_new_are_those_after_the_ones_seen() -> None:
    assert new_lines(deploying(output=["a", "b", "c"], output_lines=3), 1) == ["b", "c"]
    assert new_lines(deploying(output=["a", "b", "c"], output_lines=3), 3) == []
    assert new_lines(deploying(output=["y", "z"], output_lines=100), 1) == ["y", "z"]
    assert new_lines(deploying(output=[], output_lines=0), 7) == []


@pytest.mark.parametrize(
    ("shown", "output", "rest"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),
        (["a", "b"], ["a", "... 90 lines ...", "b", "c"], ["c"]),
        (["a", "b"], ["a", "b"], []),
        (["x"], ["a", "b"], ["a", "b"]),
    ],
)
def test_the_rest_of_an_output_follows_the_lines_shown(shown: list[str], output: list[str], rest: list[str]) -> None:
    assert remaining_lines(shown, output) == rest


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\tfrom a.rb:3", "\tfrom a.rb:3"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPsixel\x1b\\a", "a"),
        ("\x1b(Ba", "a"),
        ("10%\r50%\r100%\r", "100%"),
        ("\x9b2J\u202e", r"\u202e"),
        ("\x1b\x00", r"\x00"),
        ("gr\u00fcn", "gr\u00fcn"),
    ],
)
def test_output_is_shown_without_escape_sequences_and_with_its_tabs(line: str, seen: str) -> None:
    assert printable(line) == seen


def failure(reason: str, *output: str) -> DeployResult:
    return DeployResult(FAILED, "", "/r/a", 2, reason, list(output))


def test_the_output_of_a_hook_is_called_the_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_outcome(failure("the hook before_launch exited with status 4", "npm ERR!"), 1.0) == 1
    assert "rainbowd: the hook's last lines:\n    npm ERR!\n" in capsys.readouterr().err
    print_outcome(failure("the app exited with status 3 before it was ready", "\x1b[1mbad"), 1.0)
    assert "rainbowd: the app's last lines:\n    bad\n" in capsys.readouterr().err


def test_a_reader_of_both_outputs_gets_no_line_twice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = failure("the app exited", "a", "… 90 lines …", "\tb")
    monkeypatch.setattr("rainbowd.cli.outcome.is_output_shared", lambda: True)
    print_outcome(outcome, 1.0, {"a", "\tb"})
    assert "lines" not in capsys.readouterr().err
    print_outcome(outcome, 1.0, {"a"})
    assert capsys.readouterr().err.endswith("\n    … 90 lines …\n    \tb\n")
    monkeypatch.setattr("rainbowd.cli.outcome.is_output_shared", lambda: False)
    print_outcome(outcome, 1.0, {"a", "\tb"})
    assert "    a\n" in capsys.readouterr().err
