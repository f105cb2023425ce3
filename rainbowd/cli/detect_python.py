"""Python apps: Django, WSGI and ASGI applications by their framework, and programs of their own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.cli.detected_app import DetectedApp
from rainbowd.cli.health_guess import of_django
from rainbowd.cli.source_files import files_near_top, read_source, src_layout_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WSGI = "gunicorn-gthread", "uwsgi"
ASGI = "uvicorn", "hypercorn"
_INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt"


class _Framework(NamedTuple):
    """The pattern by which an application is found in a source file.

    Attributes:
        name: the name of the framework.
        pattern: a regular expression for the line that makes the application; its group is the application's name.
        kind: a key of ``KINDS``.
        servers: the servers that can run it, the likeliest first.
        needs: a word that the file must contain too, in lower case.
        call: the text that is appended to the name, for a factory.
    """

    name: str
    pattern: str
    kind: str
    servers: tuple[str, ...]
    needs: str = ""
    call: str = ""


def _made_by(constructor: str) -> str:
    return rf"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)*{constructor}\("


def _factory_of(constructor: str) -> str:
    return rf"^(?:async )?def ((?:create|make|build)_\w*app\w*)\([^)]*\).*:\n(?:.*\n)*?\s+.*{constructor}\("


FRAMEWORKS = (
    _Framework("Flask", _made_by("Flask"), "wsgi", (*WSGI, "flask")),
    _Framework("Flask", _factory_of("Flask"), "wsgi", (*WSGI, "flask"), call="()"),
    _Framework("Bottle", _made_by("Bottle"), "wsgi", WSGI),
    _Framework("Sanic", _made_by("Sanic"), "sanic", ("sanic",)),
    _Framework("aiohttp", r"^(?:async )?def (\w+)\(argv\b", "aiohttp", ("aiohttp",), needs="aiohttp"),
    *(
        _Framework(name, pattern, kind, servers, needs=name.lower())
        for name, constructor in (
            ("FastAPI", "FastAPI"),
            ("Starlette", "Starlette"),
            ("Litestar", "Litestar"),
            ("Quart", "Quart"),
            ("BlackSheep", "Application"),
        )
        for pattern, kind, servers in (
            (_made_by(constructor), "asgi", ASGI),
            (_factory_of(constructor), "asgi factory", ("uvicorn-factory",)),
        )
    ),
    _Framework("Falcon", r"^(\w+)\s*=\s*falcon\.asgi\.App\(", "asgi", ASGI),
    _Framework("Falcon", r"^(\w+)\s*=\s*falcon\.(?:App|API)\(", "wsgi", WSGI),
    _Framework("an ASGI application", r"^async def (\w+)\(scope, receive, send\)", "asgi", ASGI),
    _Framework("a WSGI application", r"^def (\w+)\(environ, start_response\)", "wsgi", WSGI),
)
"""The frameworks in the order in which each file is searched for them."""

CONVENTIONS = {
    "wsgi.py": _Framework("a WSGI application", r"^(app|application)\s*=", "wsgi", WSGI),
    "asgi.py": _Framework("an ASGI application", r"^(app|application)\s*=", "asgi", ASGI),
}
"""Files whose names are a convention: servers look for the application in them."""

PROGRAMS = (
    ("Robyn", r"^\w+\s*=\s*Robyn\(", "robyn"),
    ("Streamlit", r"^import streamlit\b", "streamlit"),
    ("a program", r"http\.server(?s:.*)argv|argv(?s:.*)http\.server", "python"),
    ("aiohttp", r"\brun_app\(", "python-env"),
    ("Tornado", r"\btornado\.(?:web|httpserver)\b", "python-env"),
    ("a program", r"\bhttp\.server\b", "python-env"),
)
"""Programs that contain their server: a description, a pattern in the source, and the recipe that runs them."""


def find_python(release: Path) -> DetectedApp | None:
    """Return the first application, or else the first program, of the Python files; None if there is none."""
    for file in sources(release):
        text = read_source(file)
        module, env = _module(release, file)
        for framework in (*FRAMEWORKS, *([CONVENTIONS[file.name]] if file.name in CONVENTIONS else [])):
            match = re.search(framework.pattern, text, re.MULTILINE)
            if match is None or framework.needs not in text.lower():
                continue
            description = f"{framework.name} in {file.relative_to(release)}"
            found = _found(release, description, _choose(release, framework.servers))
            found.apps[framework.kind] = f"{module}:{match[1]}{framework.call}"
            found.env |= env
            return found
    return _bottle_module(release) or _program(release)


def find_django(release: Path) -> DetectedApp | None:
    """Return the Django project of the release; None if it has no manage.py."""
    if not (release / "manage.py").is_file():
        return None
    project = next((file.parent for file in sorted(release.glob("*/wsgi.py"))), None)
    name = project.name if project else "project"
    is_async = (release / name / "asgi.py").is_file() and _has(release, "uvicorn") and not _has(release, "gunicorn")
    server = "uvicorn" if is_async else "gunicorn-gthread" if _has(release, "gunicorn") else "runserver"
    found = _found(release, f"Django, project {name}", server)
    found.apps = {"wsgi": f"{name}.wsgi", "asgi": f"{name}.asgi:application"}
    found.health = of_django(read_source(release / name / "settings.py"))
    return found


def sources(release: Path) -> Iterator[Path]:
    """Yield the Python files at the top, one directory below, and of a src layout; not those of sub-projects."""
    for file in files_near_top(release, "*.py"):
        if file.parent == release or not _is_project(file.parent):
            yield file
    yield from src_layout_files(release, "*.py")


def _is_project(directory: Path) -> bool:
    manifests = "requirements.txt", "pyproject.toml", "Pipfile", "manage.py"
    is_package = (directory / "__init__.py").is_file()
    return not is_package and any((directory / name).is_file() for name in manifests)


def _module(release: Path, file: Path) -> tuple[str, dict[str, str]]:
    """Return the module name of a file, and the environment variables with which it can be imported."""
    parts = file.relative_to(release).with_suffix("").parts
    env = {}
    if parts[0] == "src":
        parts, env = parts[1:], {"PYTHONPATH": "{release}/src"}
    return ".".join(parts).removesuffix(".__init__"), env


def _found(release: Path, seen: str, server: str) -> DetectedApp:
    """Return an app that runs in the release's own environment: a virtual environment, uv or Poetry."""
    programs = next((f"{name}/bin/" for name in (".venv", "venv") if (release / name / "bin").is_dir()), "")
    found = DetectedApp([seen], server, programs=programs)
    if programs:
        return found
    if (release / "uv.lock").is_file():
        found.prefix = ("uv", "run", "--frozen")
        found.notes.append(
            "uv run installs missing packages; the hook before_launch `uv sync --frozen` installs them earlier"
        )
    elif (release / "poetry.lock").is_file():
        found.prefix = ("poetry", "run")
        found.notes.append("each release needs its packages: the hook before_launch `poetry install` installs them")
    elif (release / "requirements.txt").is_file():
        hint = f"the hook before_launch `{_INSTALL}` installs them; then begin run with .venv/bin/"
        found.notes.append(f"each release needs its packages: {hint}")
    return found


def _bottle_module(release: Path) -> DetectedApp | None:
    """Return a module whose routes belong to Bottle's default application; None if there is none."""
    for file in sources(release):
        if re.search(r"^from bottle import .*\broute\b|^@bottle\.route\b", read_source(file), re.MULTILINE):
            found = _found(release, f"Bottle in {file.relative_to(release)}", "bottle")
            found.apps["bottle"], found.env = _module(release, file)
            return found
    return None


def _program(release: Path) -> DetectedApp | None:
    for file in sources(release):
        text = read_source(file)
        for name, pattern, server in PROGRAMS:
            if re.search(pattern, text, re.MULTILINE):
                program = str(file.relative_to(release))
                found = _found(release, f"{name}, {program}", server)
                found.apps["python"] = program
                return found
    return None


def _choose(release: Path, servers: tuple[str, ...]) -> str:
    """Return the first of the servers that the app has installed or requires, or else the first of all."""
    return next((server for server in servers if _has(release, server.partition("-")[0])), servers[0])


def _has(release: Path, program: str) -> bool:
    """Return whether a Python app requires a program, or its environment contains it."""
    if any((release / name / "bin" / program).exists() for name in (".venv", "venv")):
        return True
    files = [*release.glob("requirements*.txt"), *(release / name for name in ("pyproject.toml", "Pipfile", "uv.lock"))]
    text = "\n".join(map(read_source, [*files, release / "poetry.lock"]))
    return program in re.findall(r"[a-z][a-z0-9]*", text.lower())
