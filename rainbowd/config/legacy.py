"""The old keys of ``rainbow.conf.json``, rewritten to those of ``rainbowd.json``."""

from __future__ import annotations

import json
import re

from rainbowd.address import PORT_MAX
from rainbowd.config_paths import LEGACY_CONFIG_NAME
from rainbowd.json_file import format_value

NEW_NAMES = {"healthCheckPath": "health", "warmupTime": "warmup", "port": "listen", "controlPort": "api"}

MILLISECONDS_MAX = 1e15
"""Longer than any intended warm-up, and small enough for a float."""

_TAKES_PORT_OR_SOCKET = re.compile(r"(?<!\$)\{(?:port|socket)\}|\$\{?(?:PORT|SOCKET|1)\b|\$[@*]")


def translate(data: dict[str, object], file_name: str) -> tuple[list[str], list[str]]:
    """Rewrite the old keys in ``data``, in place.

    The port and the pidfile are added to a command only in an old file, which is recognised by its name or its keys. In
    a new file, a command without a placeholder reads its port from the environment.

    Args:
        data: the config as JSON.
        file_name: of the config file, without its directory.

    Returns:
        Problems and warnings, a line each, without the file's name.
    """
    problems: list[str] = []
    warnings: list[str] = []
    old_keys = [key for key in NEW_NAMES if key in data]
    if old_keys or file_name == LEGACY_CONFIG_NAME:
        warnings += _complete_run(data)
    for key in old_keys:
        new_key, value = NEW_NAMES[key], data.pop(key)
        if new_key in data:
            problems.append(f'{key}: found together with its new name "{new_key}"; expected one of the two')
            continue
        translated, expected = _translate_value(key, value)
        if translated is None:
            problems.append(f"{key}: found {format_value(value)}; expected {expected}")
        else:
            if new_key == "api":
                translated = {"listen": translated}
            data[new_key] = translated
            warnings.append(f'{key}: is an old name; write "{new_key}": {json.dumps(translated)}')
            if new_key == "api":
                warnings[-1] += ", which has no effect until the API is enabled"
    return problems, warnings


def _translate_value(key: str, value: object) -> tuple[object, str]:
    """Return the value for the new key (None if it is invalid), and the description of a valid value."""
    if key == "healthCheckPath":
        return _path_of(value), 'a path that begins with /, such as "/up"'
    if key == "warmupTime":
        return _seconds_of(value), "a number of milliseconds, 0 or more"
    return _address_of(value), f"a port from 0 to {PORT_MAX}"


def _path_of(value: object) -> str | None:
    return value if isinstance(value, str) and value.startswith("/") else None


def _seconds_of(milliseconds: object) -> float | None:
    if not isinstance(milliseconds, int | float) or isinstance(milliseconds, bool):
        return None
    return milliseconds / 1000 if 0 <= milliseconds < MILLISECONDS_MAX else None


def _address_of(port: object) -> str | None:
    # The old program listened on the loopback interface only: its file must not open the app to other machines.
    is_port = isinstance(port, int) and not isinstance(port, bool) and 0 <= port <= PORT_MAX
    return f"127.0.0.1:{port}" if is_port else None


def _complete_run(data: dict[str, object]) -> list[str]:
    """Add the port and the pidfile to the command, as the old program did to every command; return a warning."""
    run = data.get("run")
    if not isinstance(run, str) or not run.strip() or _TAKES_PORT_OR_SOCKET.search(run):
        return []
    data["run"] = f"{run} {{port}} {{pidfile}}"
    return [f'run: gets the port and the pidfile as arguments; write "run": {json.dumps(data["run"])}']
