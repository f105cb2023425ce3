from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rainbowd
from rainbowd.config_paths import ConfigPaths, find_config, lasting_path, read_config_paths
from rainbowd.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rainbowd.json"


def test_the_given_config_is_used_even_if_it_does_not_exist() -> None:
    assert find_config(Path("/none/x.json")) == Path("/none/x.json")


def test_without_a_given_config_the_new_name_wins_over_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"rainbowd\.json: found no such file in .*expected"):
        find_config(None)
    (tmp_path / "rainbow.conf.json").touch()
    assert find_config(None) == Path("rainbow.conf.json")
    (tmp_path / "rainbowd.json").touch()
    assert find_config(None) == Path("rainbowd.json")


def test_paths_have_defaults_next_to_the_config(file: Path) -> None:
    file.write_text("{}")
    assert read_config_paths(file) == ConfigPaths(
        config_file=file,
        release=file.parent,
        trigger_file=file.parent / "redeploy.trigger",
        state_dir=file.parent / ".rainbowd",
        maintenance_file=file.parent / "rainbowd.maintenance",
        pause_file=file.parent / "rainbowd.pause",
    )


def test_paths_are_absolute_and_keep_their_symlinks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "v1").mkdir()
    (file.parent / "current").symlink_to("v1")
    file.write_text(
        json.dumps(
            {
                "release": "current/",
                "trigger_file": None,
                "maintenance": {"file": None},
                "pause_file": "p",
                "state_dir": "/var/x",
            }
        )
    )
    monkeypatch.chdir(file.parent)
    found = read_config_paths(Path("rainbowd.json"))
    assert found == ConfigPaths(file, file.parent / "current", None, Path("/var/x"), None, file.parent / "p")


def test_other_keys_are_not_validated(file: Path) -> None:
    file.write_text('{"unknown": 1, "run": 5}')
    assert read_config_paths(file).release == file.parent


@pytest.mark.parametrize("key", ["release", "trigger_file", "pause_file", "state_dir"])
@pytest.mark.parametrize("value", [5, "", "a\0b", [], True])
def test_a_value_that_is_not_a_path_is_refused(file: Path, key: str, value: object) -> None:
    file.write_text(json.dumps({key: value}))
    with pytest.raises(ConfigError, match=f"{key}: found .*; expected a path"):
        read_config_paths(file)


def test_importing_locations_loads_nothing_heavy() -> None:
    code = "import sys, rainbowd.config_paths; print(*{name.partition('.')[0] for name in sys.modules})"
    root = Path(rainbowd.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"pydantic", "trio", "httpx", "rich", "asyncio"} & set(run.stdout.split())


# --- what a deploy does not move --------------------------------------------------------------------------


def test_a_config_is_found_again_though_the_release_that_it_was_named_from_is_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    (tmp_path / "rainbowd.json").write_text('{"release": "current"}')
    monkeypatch.chdir(tmp_path / "releases" / "r1")
    file = lasting_path(Path("../../rainbowd.json"))
    assert file == tmp_path / "rainbowd.json"
    where = read_config_paths(Path("../../rainbowd.json"))
    monkeypatch.chdir("/")
    (tmp_path / "releases" / "r1").rmdir()
    assert where == read_config_paths(file)
    assert where.release == tmp_path / "current"


def test_a_config_in_a_release_names_places_that_stay(tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "rainbowd.json").write_text(
            '{"release": "../../current", "trigger_file": "../../shared/go", "state_dir": "../../shared/state",'
            ' "maintenance": {"file": "../../shared/down"}, "pause_file": "../../shared/pause"}'
        )
    link = tmp_path / "current"
    link.symlink_to("releases/r1")
    before = read_config_paths(link / "rainbowd.json")
    assert before.config_file == link / "rainbowd.json", "each release brings its own"
    shared = tmp_path / "shared"
    assert before[1:] == (link, shared / "go", shared / "state", shared / "down", shared / "pause")
    link.unlink()
    link.symlink_to("releases/r2")
    assert read_config_paths(link / "rainbowd.json") == before


def test_only_the_release_follows_the_link_that_the_config_is_reached_by(tmp_path: Path) -> None:
    (tmp_path / "r1").mkdir()
    (tmp_path / "r1" / "rainbowd.json").write_text("{}")
    (tmp_path / "current").symlink_to("r1")
    where = read_config_paths(tmp_path / "current" / "rainbowd.json")
    assert where.release == tmp_path / "current"
    assert (where.state_dir, where.trigger_file) == (
        tmp_path / "r1" / ".rainbowd",
        tmp_path / "r1" / "redeploy.trigger",
    )
