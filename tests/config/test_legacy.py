from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rainbowd.address import TcpAddress
from rainbowd.config import (
    ApiSettings,
    Config,
    Health,
    load,
)
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def legacy(file: Path, **keys: object) -> tuple[Config, list[str]]:
    file.write_text(json.dumps(keys))
    found = load(file)
    return found.config, [warning.removeprefix(f"{file}: ") for warning in found.warnings]


def test_old_spellings_mean_the_new_ones_and_say_so(file: Path) -> None:
    config, warnings = legacy(file, run="app $1", healthCheckPath="/up", port=8080, controlPort=8081)
    assert config.health == Health(path="/up")
    assert config.listen == (TcpAddress("127.0.0.1", 8080),)
    spelling = '"api": {"listen": "127.0.0.1:8081"}'
    assert warnings == [
        'healthCheckPath: is an old name; write "health": "/up"',
        'port: is an old name; write "listen": "127.0.0.1:8080"',
        f"controlPort: is an old name; write {spelling}, which has no effect until the API is enabled",
    ]
    assert config.api == ApiSettings(listen=TcpAddress("127.0.0.1", 8081))


def test_an_old_warm_up_is_in_milliseconds(file: Path) -> None:
    config, warnings = legacy(file, run="app $1", warmupTime=1500)
    assert (config.warmup, config.health) == (1.5, None)
    assert warnings == ['warmupTime: is an old name; write "warmup": 1.5']


@pytest.mark.parametrize("place", ["{port}", "$PORT", "${PORT}", "{socket}", "$SOCKET", "$1", "${1}", "$@"])
def test_an_old_command_with_a_port_placeholder_stays_unchanged(file: Path, place: str) -> None:
    config, warnings = legacy(file.with_name("rainbow.conf.json"), run=f"app {place}", warmup=1)
    assert (config.run, warnings) == (f"app {place}", [])


@pytest.mark.parametrize("run", ["node app.js", "app $PORTAL", "app ${port}"])
def test_an_old_command_that_does_not_is_given_port_and_pidfile(file: Path, run: str) -> None:
    config, warnings = legacy(file, run=run, warmupTime=1)
    assert config.run == f"{run} {{port}} {{pidfile}}"
    assert warnings[0] == f'run: gets the port and the pidfile as arguments; write "run": "{run} {{port}} {{pidfile}}"'


def test_the_old_files_name_is_enough_to_complete_its_command(file: Path) -> None:
    config, _ = legacy(file.with_name("rainbow.conf.json"), run="node app.js", health="/")
    assert config.run == "node app.js {port} {pidfile}"


def test_a_new_command_without_a_place_for_the_port_takes_it_from_its_environment(file: Path) -> None:
    config, warnings = legacy(file, run="gunicorn app:app", health="/")
    assert (config.run, warnings) == ("gunicorn app:app", [])


def test_a_list_is_never_completed(file: Path) -> None:
    config, _ = legacy(file, run=["node", "app.js"], healthCheckPath="/")
    assert config.run == ("node", "app.js")


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("healthCheckPath", "/a", "health"),
        ("warmupTime", 5, "warmup"),
        ("port", 80, "listen"),
        ("controlPort", 80, "api"),
    ],
)
def test_the_old_and_the_new_spelling_together_are_refused(file: Path, old: str, value: object, new: str) -> None:
    good = {"health": "/up", "warmup": 1, "listen": "localhost:1", "api": {}}[new]
    file.write_text(json.dumps({"run": "a $1", old: value, new: good}))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert f'{old}: found together with its new name "{new}"; expected one of the two' in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("healthCheckPath", 5, "a path that begins with /"),
        ("healthCheckPath", "up", "a path that begins with /"),
        ("warmupTime", "5", "a number of milliseconds, 0 or more"),
        ("warmupTime", True, "a number of milliseconds, 0 or more"),
        ("warmupTime", -1, "a number of milliseconds, 0 or more"),
        ("warmupTime", 10**400, "a number of milliseconds, 0 or more"),
        ("port", 65536, "a port from 0 to 65535"),
        ("port", "80", "a port from 0 to 65535"),
        ("port", True, "a port from 0 to 65535"),
        ("controlPort", 1.5, "a port from 0 to 65535"),
    ],
)
def test_a_bad_value_of_an_old_spelling_is_named_by_that(file: Path, key: str, value: object, expected: str) -> None:
    file.write_text(json.dumps({"run": "a $1", key: value}))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert caught.value.problems[0].startswith(f"{file}: {key}: found ")
    assert f"; expected {expected}" in caught.value.problems[0]
