from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import rainbowd
from rainbowd.errors import ConfigError
from rainbowd.locations import Locations, find_config, lasting_path, read_json, read_locations, read_text, shown


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rainbowd.json"


def problem_of(file: Path, content: str | bytes) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        read_json(file)
    assert all(line.startswith(f"{file}: ") for line in caught.value.problems)
    return "\n".join(line.removeprefix(f"{file}: ") for line in caught.value.problems)


def test_an_object_is_read_as_it_is(file: Path) -> None:
    file.write_text('{"run": "a", "env": {"B": "\u00e9"}, "listen": [1, null]}')
    assert read_json(file) == {"run": "a", "env": {"B": "\u00e9"}, "listen": [1, None]}


def test_a_byte_order_mark_is_no_content(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf{"run": "a"}')
    assert read_json(file) == {"run": "a"}


TRAILING_COMMA = (
    'line 2, column 9: found ","; expected JSON (Illegal trailing comma'
    if sys.version_info >= (3, 13)
    else 'line 3, column 3: found "}"; expected JSON'
)
"""From 3.13 on, Python's parser points at the comma itself."""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{\n  "a": 1,\n  }', TRAILING_COMMA),
        ('{"a": 1} // why', 'line 1, column 10: found "/"; expected JSON'),
        ("{'a': 1}", 'line 1, column 2: found "\'"; expected JSON'),
        ('{"a": ', "found the end of the file; expected JSON"),
        ("", "line 1, column 1: found the end of the file; expected JSON"),
        ("[]", "found a list; expected an object"),
        ("null", "found null; expected an object"),
        ('"a"', "found a string; expected an object"),
        ("5", "found a number; expected an object"),
        (b'{\n"a": "\xff"}', "line 2: found bytes that are not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "line 1: found bytes that are not UTF-8"),
        ('{"a": "\\ud800"}', "found half a surrogate pair"),
        ("[" * 100_000, "found too deep a nesting"),
        ('{"a": ' + "9" * 5000 + "}", "too long a number"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(file: Path, content: str | bytes, problem: str) -> None:
    assert problem in problem_of(file, content)


def test_duplicate_keys_are_refused_by_their_path_each_once(file: Path) -> None:
    content = '{"a": {"b": 1, "b": 2, "b": 3}, "c": [{}, {"d": 1, "d": 1}], "e": 1, "e": {}, "f": {"b": 1}}'
    problems = problem_of(file, content).splitlines()
    assert sorted(problems) == [f"{key}: found twice; expected each key once" for key in ("a.b", "c[1].d", "e")]


def test_control_characters_of_a_key_do_not_reach_the_terminal(file: Path) -> None:
    assert problem_of(file, '{"\\u001b[2J": 1, "\\u001b[2J": 1}').isprintable()
    assert shown("\x1b\x9b\n").isprintable()


def test_a_long_value_is_shown_shortened() -> None:
    assert len(shown("x" * 1000)) < 80


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda file: None, "No such file or directory"),
        (lambda file: file.mkdir(), "Is a directory"),
        (lambda file: file.symlink_to(file), "Too many levels of symbolic links"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(file: Path, prepare: object, reason: str) -> None:
    assert callable(prepare)
    prepare(file)
    with pytest.raises(ConfigError) as caught:
        read_text(file, expected="a poem")
    assert str(caught.value) == f"{file}: cannot be read ({reason}); expected a poem"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named_with_the_reason(file: Path) -> None:
    file.write_text("{}")
    file.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        read_json(file)


def test_the_given_config_is_used_even_where_it_does_not_exist() -> None:
    assert find_config(Path("/none/x.json")) == Path("/none/x.json")


def test_without_one_given_the_new_name_goes_before_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"rainbowd\.json: found no such file in .*expected"):
        find_config(None)
    (tmp_path / "rainbow.conf.json").touch()
    assert find_config(None) == Path("rainbow.conf.json")
    (tmp_path / "rainbowd.json").touch()
    assert find_config(None) == Path("rainbowd.json")


def test_locations_have_defaults_beside_the_config(file: Path) -> None:
    file.write_text("{}")
    assert read_locations(file) == Locations(
        config_file=file,
        release=file.parent,
        trigger_file=file.parent / "redeploy.trigger",
        state_dir=file.parent / ".rainbowd",
    )


def test_locations_are_absolute_and_keep_their_symlinks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "v1").mkdir()
    (file.parent / "current").symlink_to("v1")
    file.write_text(json.dumps({"release": "current/", "trigger_file": None, "state_dir": "/var/x"}))
    monkeypatch.chdir(file.parent)
    found = read_locations(Path("rainbowd.json"))
    assert found == Locations(file, file.parent / "current", None, Path("/var/x"))


def test_locations_do_not_judge_other_keys(file: Path) -> None:
    file.write_text('{"unknown": 1, "run": 5}')
    assert read_locations(file).release == file.parent


@pytest.mark.parametrize("key", ["release", "trigger_file", "state_dir"])
@pytest.mark.parametrize("value", [5, "", "a\0b", [], True])
def test_locations_refuse_what_is_no_path(file: Path, key: str, value: object) -> None:
    file.write_text(json.dumps({key: value}))
    with pytest.raises(ConfigError, match=f"{key}: found .*; expected a path"):
        read_locations(file)


def test_importing_locations_loads_nothing_heavy() -> None:
    code = "import sys, rainbowd.locations; print(*{name.partition('.')[0] for name in sys.modules})"
    root = Path(rainbowd.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"pydantic", "trio", "httpx", "rich", "structlog", "asyncio"} & set(run.stdout.split())


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "socket"])
def test_what_is_no_regular_file_is_refused_and_never_waited_for(file: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "directory":
        file.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(file))
    with pytest.raises(ConfigError, match=r"cannot be read \(.+\); expected a JSON file"):
        read_json(file)


# --- what a deploy does not move --------------------------------------------------------------------------


def test_a_config_is_found_again_though_the_release_that_it_was_named_from_is_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    (tmp_path / "rainbowd.json").write_text('{"release": "current"}')
    monkeypatch.chdir(tmp_path / "releases" / "r1")
    file = lasting_path(Path("../../rainbowd.json"))
    assert file == tmp_path / "rainbowd.json"
    where = read_locations(Path("../../rainbowd.json"))
    monkeypatch.chdir("/")
    (tmp_path / "releases" / "r1").rmdir()
    assert where == read_locations(file)
    assert where.release == tmp_path / "current"


def test_a_config_in_a_release_names_places_that_stay(tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "rainbowd.json").write_text(
            '{"release": "../../current", "trigger_file": "../../shared/go", "state_dir": "../../shared/state"}'
        )
    link = tmp_path / "current"
    link.symlink_to("releases/r1")
    before = read_locations(link / "rainbowd.json")
    assert before.config_file == link / "rainbowd.json", "each release brings its own"
    assert before[1:] == (link, tmp_path / "shared" / "go", tmp_path / "shared" / "state")
    link.unlink()
    link.symlink_to("releases/r2")
    assert read_locations(link / "rainbowd.json") == before


def test_only_the_release_follows_the_link_that_the_config_is_reached_by(tmp_path: Path) -> None:
    (tmp_path / "r1").mkdir()
    (tmp_path / "r1" / "rainbowd.json").write_text("{}")
    (tmp_path / "current").symlink_to("r1")
    where = read_locations(tmp_path / "current" / "rainbowd.json")
    assert where.release == tmp_path / "current"
    assert (where.state_dir, where.trigger_file) == (
        tmp_path / "r1" / ".rainbowd",
        tmp_path / "r1" / "redeploy.trigger",
    )
