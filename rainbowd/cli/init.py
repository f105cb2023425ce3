"""``rainbowd init``: write a starter config for the app in a directory."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rainbowd
from rainbowd.cli.detect import detect
from rainbowd.cli.health_guess import ALIVE
from rainbowd.cli.recipe import APP
from rainbowd.cli.recipes import SERVERS
from rainbowd.cli.terminal import escape_control
from rainbowd.config_paths import CONFIG_NAME, LEGACY_CONFIG_NAME, named_config
from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from rainbowd.cli.detected_app import DetectedApp

SCHEMA = Path(rainbowd.__file__).absolute().with_name("rainbowd.schema.json")
"""The schema of the config, with which editors complete and check it."""
LISTEN = "127.0.0.1:7000"
LINK = "current"
SHARED = "shared"
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
SYSTEM_STATE = Path("/var/lib/rainbowd")
"""A directory where only root can write, for the state of an agent that runs as root."""

Settings = dict[str, Any]

BLANK: Settings = {
    "//": [
        "run: the command that starts the app. The app must listen on the port that replaces {port}, or on $PORT.",
        "health: a path that answers 200 as soon as the app can serve requests.",
        "release: the app's directory, or a symlink that each deploy points to a new release.",
        "listen: the address that clients, or the web server in front, connect to.",
        "state_dir: the directory of rainbowd's status and journal, outside of the release.",
        "docs/configuration.md has all keys. `rainbowd check` reports what is missing. Keys named // are comments.",
    ],
    "run": ["./server", "--port", "{port}"],
    "health": "/up",
}


def init(config_path: Path | None, server: str | None, app: str | None = None, *, is_blank: bool = False) -> int:
    """Write a config for the app in the directory of the config, and print what was found.

    Args:
        config_path: the file to write; None for ``rainbowd.json`` in the working directory.
        server: a name of ``SERVERS``; None for the server that the app is made for.
        app: the app that the server serves; None for the app that is found.
        is_blank: write a config to fill in, with comments, whatever the app is.

    Returns:
        The exit status, 0.

    Raises:
        UsageError: a config exists already, no known app was found, or the file cannot be written.
    """
    file = named_config(config_path) or Path(CONFIG_NAME)
    directory = file.absolute().parent
    existing = next((path for path in (file, directory / LEGACY_CONFIG_NAME) if os.path.lexists(path)), None)
    if existing is not None:
        raise UsageError(f"{existing} already exists; rainbowd init does not overwrite it")
    if is_blank:
        if server is not None or app is not None:
            raise UsageError("--blank: found it together with --server or --app; expected one or the other")
        _write(file, {**BLANK, **_places(directory), "listen": LISTEN})
        _print(f"wrote  {file}: fill it in as its comments describe")
        return 0
    found = detect(directory / LINK if (directory / LINK).is_symlink() else directory, server, app)
    settings = starter(directory, found)
    _write(file, settings)
    _explain(file, found, settings)
    return 0


def _write(file: Path, settings: Settings) -> None:
    try:
        with file.open("x") as target:
            target.write(json.dumps({"$schema": str(SCHEMA), **settings}, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from None


def starter(directory: Path, found: DetectedApp) -> Settings:
    """Return the config for an app.

    Args:
        directory: the directory of the config, which contains the app or the release link.
        found: the app.
    """
    recipe = SERVERS.get(found.server)
    config: Settings = dict(recipe.config) if recipe else {}
    env = {**found.env, **config.pop("env", {})}
    return {
        "run": _run(found),
        **({"health": found.health} if found.health else {"warmup": 5}),
        **_places(directory),
        "listen": LISTEN,
        **({"env": env} if env else {}),
        **({"hooks": {"before_launch": _inside(found.hook, found.directory)}} if found.hook else {}),
        **({"processes": found.processes} if found.processes else {}),
        **config,
    }


def _run(found: DetectedApp) -> str | list[str]:
    recipe = SERVERS.get(found.server)
    if recipe is None:
        return found.command
    program, *rest = recipe.run
    app = found.apps.get(recipe.serves, "")
    arguments = [app if word == APP else word for word in rest]
    run = [*found.prefix, app if program == APP else found.programs + program, *arguments]
    return _inside(f"exec {' '.join(map(_quoted, run))}", found.directory) if found.directory else run


def _inside(command: str, directory: str) -> str:
    return f"cd {shlex.quote(directory)} && {command}" if directory else command


def _quoted(word: str) -> str:
    """Return a word quoted for a shell, except placeholders: rainbowd quotes their values itself."""
    parts = re.split(r"(\{\w+\})", word)
    return "".join(part if index % 2 else shlex.quote(part) if part else "" for index, part in enumerate(parts))


def _places(directory: Path) -> Settings:
    """Return the keys for the release, the trigger file, and a state directory outside of the release."""
    name = directory.resolve().name
    if not (directory / LINK).is_symlink():
        places = {"release": ".", "state_dir": f"../.rainbowd-{name}"}
    elif not (directory / SHARED).is_dir():
        places = {"release": LINK, "state_dir": ".rainbowd"}
    else:
        places = {"release": LINK, "trigger_file": f"{SHARED}/redeploy.trigger", "state_dir": f"{SHARED}/rainbowd"}
    if os.geteuid() == 0 and not _is_roots((directory / places["state_dir"]).parent.resolve()):
        places["state_dir"] = str(SYSTEM_STATE / name)
    return places


def _is_roots(directory: Path) -> bool:
    """Return whether only root can write to a directory or replace it; in /tmp only root replaces root's files."""
    own, *parents = (path.stat() for path in (directory, *directory.parents))
    is_open = own.st_mode & OTHERS_WRITE or any(
        parent.st_mode & OTHERS_WRITE and not parent.st_mode & stat.S_ISVTX for parent in parents
    )
    return not is_open and all(status.st_uid == 0 for status in (own, *parents))


def _print(line: str) -> None:
    print(escape_control(line))


def _explain(file: Path, found: DetectedApp, settings: Settings) -> None:
    place = f" in {found.directory}/" if found.directory else ""
    for line in found.seen:
        _print(f"found  {line}{place}")
    _print(f"wrote  {file}")
    _print(f"       run: {_shown(settings['run'])}")
    health = found.health
    _print(f"       health: {health if isinstance(health, str) else json.dumps(health)}")
    if "hooks" in settings:
        _print(f"       before_launch: {settings['hooks']['before_launch']}")
    for name, process in settings.get("processes", {}).items():
        _print(f"       processes.{name}: {_shown(process['run'])}")
    recipe = SERVERS.get(found.server)
    for note in (
        *([recipe.note] if recipe else []),
        *found.notes,
        *_sharing_notes(settings["run"]),
        *_health_notes(health),
    ):
        _print(f"note   {note}")
    trigger = file.parent / settings.get("trigger_file", "redeploy.trigger")
    _print("next   rainbowd check     # shows what would run, and what is missing")
    _print("       rainbowd           # runs the app; then, to deploy:")
    if settings["release"] == LINK:
        _print(f"       ln -sfn releases/NEW {shlex.quote(str(file.parent / LINK))}")
    _print(f"       touch {shlex.quote(str(trigger))}")
    _print("       docs/servers.md describes each server")


def _sharing_notes(run: str | list[str]) -> list[str]:
    """Return a note about what two generations of a server share by default."""
    words = run.split() if isinstance(run, str) else run
    if "gunicorn" not in {os.path.basename(word) for word in words} or "--no-control-socket" in words:  # noqa: PTH119
        return []
    return ["gunicorn 25.1 and later have a control socket that generations share: add --no-control-socket there"]


def _shown(command: str | list[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)


def _health_notes(health: object) -> list[str]:
    if not isinstance(health, dict) or health.get("status") != ALIVE["status"]:
        return []
    return ["add a health page to the app: any of these answers from / shows little about whether the app works"]
