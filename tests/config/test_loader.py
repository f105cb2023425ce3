from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import (
    Config,
    load,
    redacted,
    restart_needed,
)
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[..., Config]
Problems = Callable[..., list[str]]


def test_the_output_of_check_can_be_loaded_again(file: Path, loaded: Load) -> None:
    config = loaded(listen=["unix:x", "[::]:0"], drain={"signal": "INT", "stop": 1.5, "tunnels": 3}, log={"app": None})
    text = json.dumps(redacted(config))
    assert '"stop": 1.5' in text
    assert '"tunnels": 3,' in text
    file.write_text(text)
    assert load(file).config == config


def test_secrets_are_masked(loaded: Load) -> None:
    config = loaded(env={"KEY": "hush"}, health={"path": "/", "headers": {"Authorization": "hush"}})
    text = json.dumps(redacted(config))
    assert "hush" not in text
    assert '"KEY": "***"' in text
    assert '"Authorization": "***"' in text


def test_relative_paths_are_relative_to_the_file_not_to_the_working_directory(
    file: Path, loaded: Load, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert loaded(release="current").release == file.parent / "current"


@pytest.mark.parametrize(
    ("keys", "place", "hint"),
    [
        ({"helth": "/up"}, "helth", "health"),
        ({"Limits": {}}, "Limits", "limits"),
        ({"triggerFile": "x"}, "triggerFile", "trigger_file"),
        ({"drain": {"tunels": 5}}, "drain.tunels", "tunnels"),
        ({"health": {"path": "/", "hosts": "x"}}, "health.hosts", "host"),
        ({"log": {"lvel": "info"}}, "log.lvel", "level"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_name(
    problems: Problems, keys: dict[str, object], place: str, hint: str
) -> None:
    (found,) = problems(**keys)
    assert found.startswith(f"{place}: found an unknown key; expected one of ")
    assert found.endswith(f'; did you mean "{hint}"?')


def test_keys_named_with_two_slashes_are_comments_in_every_object(loaded: Load) -> None:
    commented = {"//": ["why"], "env": {"//": "why", "A": "1"}, "drain": {"//": "why", "stop": 1}, "health": "/"}
    config = loaded(**commented)
    assert (config.env, config.drain.stop) == ({"A": "1"}, 1.0)


def test_a_misspelt_key_comes_before_the_key_that_is_missing_because_of_it(problems: Problems) -> None:
    first, second = problems(health=None, helth="/up")
    assert first.startswith("helth: found an unknown key; ")
    assert first.endswith('did you mean "health"?')
    assert second.startswith("health: found neither")


def test_every_problem_is_reported_at_once(problems: Problems) -> None:
    found = problems(health=None, run=5, drain={"stop": -1, "x": 1}, ports=[])
    assert [line.split(":")[0] for line in found] == ["drain.x", "health", "run", "ports", "drain.stop"]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"health": None}, "neither health nor warmup"),
        ({"warmup": 1}, "both health and warmup"),
    ],
)
def test_exactly_one_of_health_and_warmup_is_required(problems: Problems, keys: dict[str, object], found: str) -> None:
    assert problems(**keys) == [f"health: found {found}; expected exactly one of the two"]


def test_a_missing_command_is_reported_as_missing(file: Path) -> None:
    file.write_text('{"warmup": 0}')
    with pytest.raises(ConfigError, match="run: found nothing; expected a command"):
        load(file)


def test_a_secret_of_the_wrong_kind_is_not_shown(problems: Problems) -> None:
    text = "\n".join(problems(env="hush", health={"path": "/", "headers": {"Authorization": ["hush"]}}))
    assert "hush" not in text
    assert text.count("found a ") == 2


def test_only_keys_that_an_agent_reads_at_its_start_need_a_restart(loaded: Load) -> None:
    old = loaded()
    assert restart_needed(old, loaded(run="other", limits={"headers": 5}, env={"A": "b"})) == []
    new = loaded(listen="localhost:1", release="x", trigger_file=None, log={"level": "debug"}, state_dir="y")
    assert restart_needed(old, loaded(api={"enabled": True})) == ["api"]
    assert restart_needed(old, new) == ["listen", "release", "trigger_file", "log", "state_dir"]
