"""What a row needs, installed into an environment of its own, once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.rows import APPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers.rows import Row

APT_GET = "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


class Missing(Exception):
    """What a row needs is not there, and cannot be had."""


def prepare(row: Row, environments: Path) -> dict[str, str]:
    """Install what ``row`` needs, unless it is there already.

    Args:
        environments: a directory that is kept from run to run.

    Returns:
        What the agent's environment has to say, by which the row's app finds it.

    Raises:
        Missing: it cannot be installed.
    """
    _debian(row)
    found = {"PATH": path_with(_pip(row, environments) if row.pip else None)}
    if row.npm:
        modules = _npm(row, environments) / "node_modules"
        found |= {"NODE_PATH": str(modules), "PATH": f"{modules}/.bin:{found['PATH']}"}
    return found


def version(row: Row, environment: dict[str, str]) -> str:
    """What the row's server says of its version: the number, and its framework's name and number.

    Raises:
        Missing: it says none.
    """
    found = re.search(r"\d+(?:\.\d+)+(?:, .*)?", _told(row, environment))
    if found is None:
        raise Missing(f"{row.name}: {' '.join(row.version)} tells no version")
    return found[0]


def _told(row: Row, environment: dict[str, str]) -> str:
    """The output of the row's command for its version; empty where that fails."""
    done = subprocess.run(
        row.version,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""


def is_ready(row: Row, environments: Path) -> bool:
    """Whether ``prepare`` has nothing to install."""
    places = ([pip_place(row.pip, environments)] if row.pip else []) + (
        [npm_place(row.app, environments)] if row.npm else []
    )
    return _is_there(row) and all((place / "complete").exists() for place in places)


def pip_place(packages: Sequence[str], environments: Path) -> Path:
    """Return the directory of the environment with these packages."""
    return environments / re.sub(r"[^a-z0-9]+", "-", " ".join(packages)).strip("-")


def npm_place(app: str, environments: Path) -> Path:
    """Return the directory of what the ``package.json`` of an app names."""
    return environments / f"npm-{app}"


def _pip(row: Row, environments: Path) -> Path:
    return install_with_pip(row.name, row.pip, environments)


def install_with_pip(name: str, packages: Sequence[str], environments: Path) -> Path:
    """Install packages into an environment of their own, unless they are there; return its directory.

    Args:
        name: what needs them, for a failure's message.
        packages: as pip takes them.
        environments: a directory that is kept from run to run.

    Raises:
        Missing: they cannot be installed.
    """
    place = pip_place(packages, environments)
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        _install(name, [sys.executable, "-m", "venv", "--without-pip", str(place)])
        _install(name, [sys.executable, "-m", "pip", "--python", str(place), "install", "--quiet", *packages])
        (place / "complete").touch()
    return place


def path_with(environment: Path | None) -> str:
    """Return a ``PATH`` that finds the programs of an environment first."""
    usual = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:{PATH}"
    return usual if environment is None else f"{environment}/bin:{usual}"


def _npm(row: Row, environments: Path) -> Path:
    return install_with_npm(row.name, row.app, environments)


def install_with_npm(name: str, app: str, environments: Path) -> Path:
    """Install what the ``package.json`` of an app names, unless it is there; return its directory.

    Args:
        name: what needs it, for a failure's message.
        app: the app's directory in ``apps``.
        environments: a directory that is kept from run to run.

    Raises:
        Missing: it cannot be installed.
    """
    place = npm_place(app, environments)
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(APPS / app / "package.json", place)
        _install(name, ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place)])
        (place / "complete").touch()
    return place


def _debian(row: Row) -> None:
    if _is_there(row):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"{row.name}: {row.program} is not there; apt-get install {' '.join(row.debian)}")
    _install(row.name, [*APT_GET, "update"])
    _install(row.name, [*APT_GET, "install", "-y", "--no-install-recommends", *row.debian])


def _is_there(row: Row) -> bool:
    """Whether Debian's part is; what comes from elsewhere is not there yet, and cannot tell its version."""
    if row.program and not shutil.which(row.program, path=f"{os.environ.get('PATH', '')}:{PATH}"):
        return False
    return bool(row.pip or row.npm or _told(row, {}))


def _install(name: str, command: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Missing(f"{name}: {' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")
