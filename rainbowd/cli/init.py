"""``rainbowd init``: a starter config for the app that is in a directory."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from rainbowd.cli.finding import Found, look
from rainbowd.cli.recipes import APP, RECIPES
from rainbowd.errors import UsageError
from rainbowd.locations import CONFIG_NAME, LEGACY_CONFIG_NAME, named_config

LISTEN = "127.0.0.1:7000"
LINK = "current"
SHARED = "shared"

Settings = dict[str, Any]


def init(config_path: Path | None, server: str | None) -> int:
    """Write a config for the app in the working directory, or in that of ``config_path``; say what was found.

    Args:
        config_path: the file to write; None for ``rainbowd.json`` here.
        server: a name of ``RECIPES``; None for the one that the app is made for.

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
    release = directory / LINK if (directory / LINK).is_symlink() else directory
    found = look(release, server)
    settings = starter(directory, found)
    try:
        with file.open("x") as target:
            target.write(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written ({error.strerror})") from None
    _explain(file, found, settings)
    return 0


def starter(directory: Path, found: Found) -> Settings:
    """The config of the app that was found in ``directory``, or in the release that is linked there."""
    recipe = RECIPES.get(found.server)
    run: object = found.command
    if recipe is not None:
        program, *words = recipe.run
        run = [*found.prefix, found.programs + program, *(found.app if word == APP else word for word in words)]
    return {
        "run": run,
        **({"health": found.health} if found.health else {"warmup": 5}),
        **_places(directory),
        "listen": LISTEN,
        **({"env": found.env} if found.env else {}),
        **(recipe.config if recipe else {}),
    }


def _places(directory: Path) -> Settings:
    """Where the release is, what is touched, and a state directory that is not part of a release."""
    if not (directory / LINK).is_symlink():
        return {"release": ".", "state_dir": f"../.rainbowd-{directory.resolve().name}"}
    if not (directory / SHARED).is_dir():
        return {"release": LINK, "state_dir": ".rainbowd"}
    return {"release": LINK, "trigger_file": f"{SHARED}/redeploy.trigger", "state_dir": f"{SHARED}/rainbowd"}


def _explain(file: Path, found: Found, settings: Settings) -> None:
    for line in found.seen:
        print(f"found  {line}")
    print(f"wrote  {file}")
    run = settings["run"]
    print(f"       run: {run if isinstance(run, str) else shlex.join(run)}")
    health = found.health
    print(f"       health: {health if isinstance(health, str) else json.dumps(health)}")
    if found.server in RECIPES:
        print(f"note   {RECIPES[found.server].note}")
    trigger = file.parent / settings.get("trigger_file", "redeploy.trigger")
    print("next   rainbowd check     # what would run, and what is missing")
    print("       rainbowd           # runs it; then, to deploy:")
    if settings["release"] == LINK:
        print(f"       ln -sfn releases/NEW {file.parent / LINK}")
    print(f"       touch {trigger}")
    print("       docs/servers.md has what is special about each server")
