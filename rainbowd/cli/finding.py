"""What app is in a directory, and how it is to be run and asked: guesses, from its files alone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rainbowd.cli.asking import of_django, of_rails, with_path
from rainbowd.cli.reading import near_top, read
from rainbowd.cli.recipes import RECIPES
from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.cli.asking import Health


@dataclass
class Found:
    """An app.

    Attributes:
        seen: what was seen, for people.
        server: a name of ``RECIPES``, or empty where ``command`` runs it.
        app: what the server is told to serve.
        command: of a Procfile.
        health: a path, or an object.
        prefix: words before the server's command.
        programs: the directory that the command is in, with a slash; empty for ``PATH``.
        env: what its environment has to say.
    """

    seen: list[str] = field(default_factory=list)
    server: str = ""
    app: str = ""
    command: str = ""
    health: Health = "/"
    prefix: tuple[str, ...] = ()
    programs: str = ""
    env: dict[str, str] = field(default_factory=dict)


def look(release: Path, server: str | None) -> Found:
    """See what is in a release.

    Args:
        release: its directory, or a link to it.
        server: what to run it with, a name of ``RECIPES``; None to choose.

    Raises:
        UsageError: nothing is there that can be run.
    """
    if server is not None and server not in RECIPES:
        raise UsageError(f"--server: found {server!r}; expected one of {', '.join(RECIPES)}")
    found = next(filter(None, (finder(release) for finder in FINDERS)), Found())
    command = None if server else _procfile(release)
    if command is not None:
        found.seen.append(f"Procfile, which says web: {command}")
        found.server, found.command, found.prefix = "", command, ()
    elif server is not None:
        found.server = server
    elif not found.server:
        known = "Django, Flask, FastAPI, Rack, Node, PHP, a Procfile"
        raise UsageError(f"{release}: found no app that is known ({known}); give --server NAME, or write the config")
    found.health = with_path(release, found.health)
    return found


def _procfile(release: Path) -> str | None:
    match = re.search(r"^web:\s*(\S.*?)\s*$", read(release / "Procfile"), re.MULTILINE)
    return match[1] if match else None


def _django(release: Path) -> Found | None:
    if not (release / "manage.py").is_file():
        return None
    project = next((file.parent for file in sorted(release.glob("*/wsgi.py"))), None)
    name = project.name if project else "project"
    wanted = _requirements(release)
    is_async = "uvicorn" in wanted and "gunicorn" not in wanted and (release / name / "asgi.py").is_file()
    server = "uvicorn" if is_async else "gunicorn-gthread" if "gunicorn" in wanted else "runserver"
    app = f"{name}.asgi:application" if is_async else f"{name}.wsgi"
    found = Found([f"Django, project {name}"], server, app, programs=_programs(release))
    settings = read(release / name / "settings.py")
    found.health = of_django(settings)
    return found


def _python(release: Path) -> Found | None:
    """Flask, FastAPI or Starlette, a bare ASGI or WSGI application, or a program of its own."""
    for file in near_top(release, "*.py"):
        text = read(file)
        module = ".".join(file.relative_to(release).with_suffix("").parts).removesuffix(".__init__")
        for kind, pattern, servers in (*PYTHON_APPS, *CONVENTIONS.get(file.name, ())):
            match = re.search(pattern, text, re.MULTILINE)
            if match is not None:
                server = _choose(release, servers)
                made = "()" if match[0].startswith("def create_app") else ""
                app = f"{module}:{match[1]}{made}"
                return Found([f"{kind} in {file.relative_to(release)}"], server, app, programs=_programs(release))
    for file in near_top(release, "*.py"):
        if "http.server" in read(file):
            return Found([f"a program, {file.name}"], "python", file.name, programs=_programs(release))
    return None


WSGI = "gunicorn-gthread", "uwsgi"
ASGI = "uvicorn", "hypercorn"

PYTHON_APPS = (
    ("Flask", r"^(\w+)\s*(?::[^=\n]+)?=\s*Flask\(", (*WSGI, "flask")),
    ("Flask", r"^def (create_app)\([^)]*\).*:\n(?:.*\n)*?\s+\w+ = Flask\(", (*WSGI, "flask")),
    ("FastAPI", r"^(\w+)\s*(?::[^=\n]+)?=\s*FastAPI\(", ASGI),
    ("Starlette", r"^(\w+)\s*(?::[^=\n]+)?=\s*Starlette\(", ASGI),
    ("an ASGI application", r"^async def (\w+)\(scope, receive, send\)", ASGI),
    ("a WSGI application", r"^def (\w+)\(environ, start_response\)", WSGI),
)
"""Frameworks, the line that makes the application, and what serves it, the likeliest first."""
CONVENTIONS = {
    "wsgi.py": (("a WSGI application", r"^(app|application)\s*=", WSGI),),
    "asgi.py": (("an ASGI application", r"^(app|application)\s*=", ASGI),),
}
"""Files that are there for a server to find."""


def _choose(release: Path, servers: tuple[str, ...]) -> str:
    """The first of them that the app asks for, else the first of all; of frameworks' own the last, if alone."""
    wanted = _requirements(release)
    asked = [server for server in servers if server.partition("-")[0] in wanted]
    return asked[0] if asked else servers[0]


def _requirements(release: Path) -> set[str]:
    """The names of what a Python app says that it needs."""
    files = [*release.glob("requirements*.txt"), release / "pyproject.toml", release / "Pipfile"]
    text = "\n".join(map(read, files))
    return set(re.findall(r"[a-z][a-z0-9]*", text.lower()))


def _programs(release: Path) -> str:
    """Where the release's own virtual environment has its programs: before the name of one, empty where it has none."""
    names = (name for name in (".venv", "venv") if (release / name / "bin").is_dir())
    return next((f"{name}/bin/" for name in names), "")


def _rack(release: Path) -> Found | None:
    if not (release / "config.ru").is_file():
        return None
    gems = read(release / "Gemfile") + read(release / "Gemfile.lock")
    names = ("puma", "unicorn", "thin", "webrick")
    server = next((name for name in names if re.search(rf"\b{name}\b", gems)), "puma")
    is_rails = (release / "config" / "application.rb").is_file()
    found = Found(["Rails" if is_rails else "Rack"], server, "config.ru")
    if is_rails:
        found.env, found.health = {"RAILS_ENV": "production"}, of_rails(release)
    if (release / "Gemfile").is_file():
        found.prefix = ("bundle", "exec")
    return found


def _ruby(release: Path) -> Found | None:
    """A program that takes its port as its first argument."""
    main = next((name for name in ("server.rb", "app.rb") if "ARGV" in read(release / name)), None)
    return Found([f"a program, {main}"], "ruby", main) if main else None


def _node(release: Path) -> Found | None:
    try:
        package = json.loads(read(release / "package.json") or "null")
    except json.JSONDecodeError:
        return None
    if not isinstance(package, dict):
        return None
    scripts = package.get("scripts")
    start = scripts.get("start") if isinstance(scripts, dict) else None
    if isinstance(start, str):
        plain = re.fullmatch(r"node (\S+)", start)
        if plain is None:
            return Found([f"Node, npm start is: {start}"], "npm")
        return Found([f"Node, npm start is: {start}"], "node", plain[1])
    names = [package.get("main"), "server.js", "app.js", "index.js"]
    main = next((name for name in names if isinstance(name, str) and (release / name).is_file()), None)
    return Found(["Node"], "node", main) if main else None


def _php(release: Path) -> Found | None:
    for name in ("public/index.php", "index.php"):
        if (release / name).is_file():
            return Found([f"PHP, {name}"], "php", name)
    return None


def _java(release: Path) -> Found | None:
    main = next((file for file in sorted(release.glob("*.java")) if "void main(" in read(file)), None)
    return Found([f"Java, {main.name}"], "java", main.name) if main else None


def _static(release: Path) -> Found | None:
    is_there = (release / "index.html").is_file()
    return Found(["static files"], "busybox", ".", health="/index.html") if is_there else None


FINDERS: tuple[Callable[[Path], Found | None], ...] = (_django, _rack, _python, _php, _node, _java, _ruby, _static)
"""What is looked for, in this order: many an app of another kind has a package.json for its assets."""
