"""The rows of the matrix: which app each server runs, what it needs, and what it cannot be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

APPS = Path(__file__).with_name("apps")

GUNICORN = ("gunicorn>=23", "gevent>=24", "packaging")
UVICORN = ("uvicorn[standard]>=0.30",)
DEBIAN_RACK = ("ruby-rack",)


@dataclass(frozen=True)
class Row:
    """One server with one app.

    Attributes:
        app: a directory below ``apps``.
        server: a name of ``rainbowd.cli.recipes.RECIPES``; by default the row's.
        pip, npm, debian: what it needs: distributions, packages of the app's package.json, Debian's packages.
        program: by which Debian's packages show that they are there.
        version: a command that tells it.
        without: kinds of traffic that the server does not do, with the reason.
        websocket: whether it speaks it.
        config: keys over those that ``rainbowd init`` writes.
    """

    name: str
    app: str
    server: str = ""
    pip: tuple[str, ...] = ()
    npm: bool = False
    debian: tuple[str, ...] = ()
    program: str = ""
    version: tuple[str, ...] = ()
    without: dict[str, str] = field(default_factory=dict)
    websocket: bool = False
    config: dict[str, object] = field(default_factory=dict)

    @property
    def recipe(self) -> str:
        return self.server or self.name


def _python(name: str, app: str, pip: tuple[str, ...], program: str, **more: object) -> Row:
    ask = f"from importlib.metadata import version; print(version({program.removesuffix('-admin')!r}))"
    return Row(name, app, pip=pip, program=program, version=("python3", "-c", ask), **more)  # type: ignore[arg-type]


def _ruby(name: str, program: str, **more: object) -> Row:
    debian = (program if program != "rackup" else "ruby-webrick", "ruby-rack")
    return Row(name, "rack", debian=debian, program=program, version=(program, "--version"), **more)  # type: ignore[arg-type]


NO_BODY_WITHOUT_LENGTH = {"chunked": "it does not read a body without a length"}
DJANGO = {"chunked": "Django on WSGI takes a body without a length for empty"}
ONLY_FILES = {"post": "it serves files", "chunked": "it serves files", "slow": "nor", "stream": "nor"}
NODE = ("node", "--version")

ROWS = (
    _python("gunicorn", "wsgi", GUNICORN, "gunicorn"),
    _python("gunicorn-gthread", "wsgi", GUNICORN, "gunicorn"),
    _python("gunicorn-gevent", "wsgi", GUNICORN, "gunicorn"),
    _python("gunicorn-daemon", "wsgi", GUNICORN, "gunicorn"),
    _python("gunicorn-socket", "wsgi", GUNICORN, "gunicorn"),
    _python("uvicorn", "asgi", UVICORN, "uvicorn", websocket=True),
    _python("uvicorn-workers", "asgi", UVICORN, "uvicorn", websocket=True),
    _python("hypercorn", "asgi", ("hypercorn>=0.17",), "hypercorn", websocket=True),
    _python("uwsgi", "wsgi", ("uwsgi>=2",), "uwsgi", without=NO_BODY_WITHOUT_LENGTH),
    _python("uwsgi-http", "wsgi", ("uwsgi>=2",), "uwsgi", without=NO_BODY_WITHOUT_LENGTH),
    _python("django-runserver", "django", ("django>=4.2",), "django-admin", server="runserver", without=DJANGO),
    _python(
        "django-gunicorn",
        "django",
        ("django>=4.2", "gunicorn>=23"),
        "gunicorn",
        server="gunicorn-gthread",
        without=DJANGO,
    ),
    _python("flask", "flask", ("flask>=3",), "flask"),
    _python("flask-gunicorn", "flask", ("flask>=3", "gunicorn>=23"), "gunicorn", server="gunicorn-gthread"),
    _python("fastapi", "fastapi", ("fastapi>=0.110", *UVICORN), "uvicorn", server="uvicorn", websocket=True),
    Row("http.server", "plain", "python", version=("python3", "--version"), without=NO_BODY_WITHOUT_LENGTH),
    _ruby("puma", "puma"),
    _ruby("puma-cluster", "puma"),
    _ruby("puma-socket", "puma"),
    _ruby("unicorn", "unicorn"),
    _ruby("thin", "thin", without=NO_BODY_WITHOUT_LENGTH),
    _ruby("webrick", "rackup"),
    Row("node", "node", debian=("nodejs",), program="node", version=NODE),
    Row("npm", "node", debian=("nodejs", "npm"), program="npm", version=("npm", "--version")),
    Row("express", "express", "node", npm=True, debian=("nodejs", "npm"), program="npm", version=NODE),
    Row("fastify", "fastify", "node", npm=True, websocket=True, debian=("nodejs", "npm"), program="npm", version=NODE),
    Row("node-cluster", "cluster", "node", debian=("nodejs",), program="node", version=NODE),
    Row("php", "php", debian=("php-cli",), program="php", version=("php", "--version")),
    Row("busybox", "static", debian=("busybox",), program="busybox", version=("busybox",), without=ONLY_FILES),
    Row("java", "java", debian=("default-jdk-headless",), program="javac", version=("java", "--version")),
)
