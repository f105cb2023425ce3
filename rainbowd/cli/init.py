"""``rainbowd init``: a starter config for the app that is in a directory."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbowd.cli.detect import detect
from rainbowd.cli.health_guess import ALIVE
from rainbowd.cli.recipe import APP
from rainbowd.cli.recipes import SERVERS
from rainbowd.cli.terminal import escape_control
from rainbowd.errors import UsageError
from rainbowd.locations import CONFIG_NAME, LEGACY_CONFIG_NAME, named_config

if TYPE_CHECKING:
    from rainbowd.cli.detected_app import DetectedApp

LISTEN = "127.0.0.1:7000"
LINK = "current"
SHARED = "shared"
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
SYSTEM_STATE = Path("/var/lib/rainbowd")
"""Where the state of a root agent is safe, whoever owns the app's directory."""

Settings = dict[str, Any]

BLANK: Settings = {
    "//": [
        "run: the command that starts the app. It has to listen on the port that {port} stands for, or on $PORT.",
        "health: a path that answers 200 once the app is ready to serve.",
        "release: the app's directory, or a symlink to it that each deploy points to a new release.",
        "listen: where clients, or the web server in front, connect.",
        "state_dir: where rainbowd keeps its status and its journal; outside of the release.",
        "docs/configuration.md lists all keys. `rainbowd check` prints what is missing. Keys named // are comments.",
    ],
    "run": ["./server", "--port", "{port}"],
    "health": "/up",
}


def init(config_path: Path | None, server: str | None, app: str | None = None, *, is_blank: bool = False) -> int:
    """Write a config for the app in the working directory, or in that of ``config_path``; say what was found.

    Args:
        config_path: the file to write; None for ``rainbowd.json`` here.
        server: a name of ``SERVERS``; None for the one that the app is made for.
        app: what the server is to serve; None for what is found.
        is_blank: write a config to fill in, with comments, whatever the app is.

    Returns:
        The exit status, 0.

    Raises:
        UsageError: there is a config already, no app that is known, or no place to write to.
    """
    file = named_config(config_path) or Path(CONFIG_NAME)
    directory = file.absolute().parent
    there = next((one for one in (file, directory / LEGACY_CONFIG_NAME) if os.path.lexists(one)), None)
    if there is not None:
        raise UsageError(f"{there}: there is one already; expected none, for init never writes over it")
    if is_blank:
        if server is not None or app is not None:
            raise UsageError("--blank: found it with --server or --app; expected one of the two")
        _write(file, {**BLANK, **_places(directory), "listen": LISTEN})
        _print(f"wrote  {file}, to be filled in: its comments say how")
        return 0
    found = detect(directory / LINK if (directory / LINK).is_symlink() else directory, server, app)
    settings = starter(directory, found)
    _write(file, settings)
    _explain(file, found, settings)
    return 0


def _write(file: Path, settings: Settings) -> None:
    try:
        with file.open("x") as target:
            target.write(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written ({error.strerror})") from None


def starter(directory: Path, found: DetectedApp) -> Settings:
    """Return the config of the app that was found in ``directory``, or in the release that is linked there."""
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
        **config,
    }


def _run(found: DetectedApp) -> str | list[str]:
    recipe = SERVERS.get(found.server)
    if recipe is None:
        return found.command
    program, *rest = recipe.run
    app = found.apps.get(recipe.serves, "")
    words = [app if word == APP else word for word in rest]
    run = [*found.prefix, app if program == APP else found.programs + program, *words]
    return _inside(f"exec {' '.join(map(_quoted, run))}", found.directory) if found.directory else run


def _inside(command: str, directory: str) -> str:
    return f"cd {shlex.quote(directory)} && {command}" if directory else command


def _quoted(word: str) -> str:
    """Return a word for the shell, in which placeholders stay: rainbowd quotes what it puts in their place."""
    parts = re.split(r"(\{\w+\})", word)
    return "".join(part if index % 2 else shlex.quote(part) if part else "" for index, part in enumerate(parts))


def _places(directory: Path) -> Settings:
    """Where the release is, what is touched, and a state directory that is not part of a release."""
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
    """Whether only root may change what is in a directory, or replace it; in /tmp nobody replaces what is root's."""
    own, *above = (place.stat() for place in (directory, *directory.parents))
    is_open = own.st_mode & OTHERS_WRITE or any(
        one.st_mode & OTHERS_WRITE and not one.st_mode & stat.S_ISVTX for one in above
    )
    return not is_open and all(one.st_uid == 0 for one in (own, *above))


def _print(line: str) -> None:
    print(escape_control(line))


def _explain(file: Path, found: DetectedApp, settings: Settings) -> None:
    place = f" in {found.directory}/" if found.directory else ""
    for line in found.seen:
        _print(f"found  {line}{place}")
    _print(f"wrote  {file}")
    run = settings["run"]
    _print(f"       run: {run if isinstance(run, str) else shlex.join(run)}")
    health = found.health
    _print(f"       health: {health if isinstance(health, str) else json.dumps(health)}")
    if "hooks" in settings:
        _print(f"       before_launch: {settings['hooks']['before_launch']}")
    recipe = SERVERS.get(found.server)
    for note in (*([recipe.note] if recipe else []), *found.notes, *_health_notes(health)):
        _print(f"note   {note}")
    trigger = file.parent / settings.get("trigger_file", "redeploy.trigger")
    _print("next   rainbowd check     # what would run, and what is missing")
    _print("       rainbowd           # runs it; then, to deploy:")
    if settings["release"] == LINK:
        _print(f"       ln -sfn releases/NEW {file.parent / LINK}")
    _print(f"       touch {trigger}")
    _print("       docs/servers.md has what is special about each server")


def _health_notes(health: object) -> list[str]:
    if not isinstance(health, dict) or health.get("status") != ALIVE["status"]:
        return []
    return ["give it a real health page: / with any of these answers says little about whether the app works"]
