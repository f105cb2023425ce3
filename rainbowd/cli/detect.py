"""The detection of the app in a directory, and of the way to run and check it, from its files alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rainbowd.cli import detect_others as others
from rainbowd.cli.detect_javascript import find_javascript
from rainbowd.cli.detect_processes import find_processes
from rainbowd.cli.detect_python import find_django, find_python
from rainbowd.cli.detected_app import DetectedApp
from rainbowd.cli.health_guess import with_path
from rainbowd.cli.recipe import KINDS
from rainbowd.cli.recipes import SERVERS
from rainbowd.cli.source_files import SKIPPED, read_source
from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Finder = Callable[[Path], DetectedApp | None]

KNOWN = (
    "Django, Flask, Bottle, Falcon, FastAPI, Starlette, Litestar, Quart, Sanic, BlackSheep, Robyn, aiohttp, Rails, "
    "Rack, Node, Next.js, Nuxt, SvelteKit, NestJS, Bun, Deno, PHP, PSGI, Mojolicious, Go, a jar, mix, an executable, "
    "a Procfile"
)
SUB_DIRECTORIES = ("backend", "server", "api", "web", "app", "site")
"""The usual directories of an app that is not at the top."""
SHOWN_MAX = 12

APPS: tuple[Finder, ...] = (
    find_django,
    others.find_rack,
    find_python,
    others.find_php,
    others.find_perl,
    others.find_elixir,
    others.find_go,
    find_javascript,
    others.find_java,
    others.find_ruby,
)
"""The kinds of apps, in the order of detection: apps of other kinds often have a package.json for their assets."""
REST: tuple[Finder, ...] = (others.find_executable, others.find_static)
"""The kinds that are tried last, after the subdirectories."""


def detect(release: Path, server: str | None, app: str | None = None) -> DetectedApp:
    """Detect the app in a release.

    Args:
        release: the directory of the release, or a link to it.
        server: the server to run it with, a name of ``SERVERS``; None to choose one.
        app: the app that the server serves; None to choose one.

    Returns:
        The app.

    Raises:
        UsageError: no app was found, or none that ``server`` serves.
    """
    if server is not None and server not in SERVERS:
        raise UsageError(f"--server: found {server!r}; expected one of {', '.join(SERVERS)}")
    found = _found(release)
    procfile = _procfile(release)
    if server is not None:
        found.server = server
    elif "web" in procfile:
        found.seen.append(f"Procfile, whose web: line is {procfile['web']}")
        found.server, found.command, found.prefix, found.directory = "", procfile["web"], (), ""
    elif not found.server:
        raise UsageError(_nothing(release, procfile))
    if "release" in procfile:
        found.seen.append(f"Procfile, whose release: line is {procfile['release']}")
        found.hook = procfile["release"]
    found.processes = find_processes(release, found, procfile)
    _name_app(found, release, app)
    found.health = with_path(release / found.directory, found.health)
    return found


def _found(release: Path) -> DetectedApp:
    """Return the app at the top, else one in a subdirectory, else an executable or static files."""
    places = [(release, APPS), *((place, APPS) for place in _sub_directories(release)), (release, REST)]
    for place, finders in places:
        for finder in finders:
            found = finder(place)
            if found is not None:
                found.directory = "" if place == release else place.name
                return found
    return DetectedApp()


def _sub_directories(release: Path) -> Iterator[Path]:
    yield from (release / name for name in SUB_DIRECTORIES if (release / name).is_dir())
    usual = {
        *SUB_DIRECTORIES,
        *SKIPPED,
        "src",
        "docs",
        "examples",
        "frontend",
        "client",
        "public",
        "static",
        "node_modules",
    }
    others_ = (place for place in sorted(release.glob("*/")) if place.name not in usual and place.name[0] != ".")
    yield from (place for place in others_ if (place / "manage.py").is_file())


def _name_app(found: DetectedApp, release: Path, app: str | None) -> None:
    """Add the app that the server serves.

    Raises:
        UsageError: no app was found for the server, or the server needs none.
    """
    recipe = SERVERS.get(found.server)
    if recipe is None or not recipe.serves:
        if app is not None:
            raise UsageError(f"--app: found {app!r}; expected it with a --server that serves an app by its name")
        return
    if app is not None:
        found.apps[recipe.serves] = app
    if not found.apps.get(recipe.serves):
        raise UsageError(f"--server {found.server}: found no app in {release}; give --app {KINDS[recipe.serves]}")


def _procfile(release: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+):[ \t]*(\S.*?)[ \t\r]*$", read_source(release / "Procfile"), re.MULTILINE))


def _nothing(release: Path, procfile: dict[str, str]) -> str:
    try:
        names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in release.iterdir())
    except OSError as error:
        return f"{release}: cannot be read ({error.strerror}); expected the directory of an app"
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    there = f"{', '.join(names[:SHOWN_MAX])}{more}" if names else "nothing"
    lines = f" (the Procfile has no web: line, only {', '.join(procfile)})" if procfile else ""
    return (
        f"{release}: found {there}{lines}; expected an app that is known ({KNOWN}); "
        "give --server NAME with --app APP, or --blank for a config to fill in"
    )
