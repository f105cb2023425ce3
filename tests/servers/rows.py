"""The rows of the matrix: which app each server runs, what it needs, and what it cannot be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

APPS = Path(__file__).with_name("apps")


@dataclass(frozen=True)
class Row:
    """One server with one app.

    Attributes:
        app: a directory below ``apps``.
        server: a name of ``rainbowd.cli.recipes.RECIPES``; by default the row's.
        pip, debian: what it needs of PyPI's and Debian's packages.
        npm: whether it needs those of the app's package.json.
        program: without which Debian's packages are not there.
        version: a command that tells the server's, and may go on with a comma and the framework's.
        without: kinds of traffic that the server does not do, with the reason.
        websocket: whether it speaks it.
        numbered: whether its answers say which generation they are from.
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
    numbered: bool = True

    @property
    def recipe(self) -> str:
        return self.server or self.name


PYTHON_VERSIONS = """
import sys
from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in sys.argv[1:]), sep=", ")
"""
RUBY_VERSIONS = 'puts ARGV.map { |name| "#{name} #{Gem::Specification.find_by_name(name).version}" }.join(", ")'


def _python(name: str, app: str, pip: tuple[str, ...], *distributions: str, **more: object) -> Row:
    version = ("python3", "-c", PYTHON_VERSIONS, *distributions)
    return Row(name, app, pip=pip, version=version, **more)  # type: ignore[arg-type]


def _ruby(name: str, app: str, debian: tuple[str, ...], *gems: str, **more: object) -> Row:
    usual = {"debian": (*debian, "ruby-rack"), "program": gems[0], "version": ("ruby", "-e", RUBY_VERSIONS, *gems)}
    return Row(name, app, **{**usual, **more})  # type: ignore[arg-type]


def _node(name: str, app: str, server: str, **more: object) -> Row:
    usual = {"debian": ("nodejs",), "program": "node", "version": ("node", "--version")}
    return Row(name, app, server, **{**usual, **more})  # type: ignore[arg-type]


def _framework(name: str, **more: object) -> Row:
    version = ("node", "-p", f"`${{process.version}}, {name} ${{require('{name}/package.json').version}}`")
    server = "pm2" if name == "pm2" else "node"
    return _node(name, name, server, npm=True, debian=NPM, program="npm", version=version, **more)


GUNICORN = ("gunicorn>=23",)
UVICORN = ("uvicorn[standard]>=0.30",)
DJANGO = ("django>=4.2",)
UWSGI = {"debian": ("gcc", "libc6-dev", "python3-dev"), "program": "gcc"}
NPM = ("nodejs", "npm")
PHP_FPM = "ls /usr/sbin/php-fpm* >/dev/null && php --version"

EMPTY = {"chunked": "the app gets an empty body, because it has no length"}
DJANGO_EMPTY = {"chunked": "Django on WSGI reads a body without a length as empty"}
RAW = {"chunked": "the app gets the raw chunks with their sizes"}
BY_LENGTH = {"chunked": "this program reads bodies by their length"}
ONLY_FILES = dict.fromkeys(("post", "chunked", "slow", "stream"), "it serves files only")

ROWS = (
    _python("gunicorn", "wsgi", GUNICORN, "gunicorn"),
    _python("gunicorn-gthread", "wsgi", GUNICORN, "gunicorn"),
    _python("gunicorn-gevent", "wsgi", (*GUNICORN, "gevent>=24", "packaging"), "gunicorn", "gevent"),
    _python("gunicorn-daemon", "wsgi", GUNICORN, "gunicorn"),
    _python("gunicorn-socket", "wsgi", GUNICORN, "gunicorn"),
    _python("uvicorn", "asgi", UVICORN, "uvicorn", websocket=True),
    _python("uvicorn-workers", "asgi", UVICORN, "uvicorn", websocket=True),
    _python("hypercorn", "asgi", ("hypercorn>=0.17",), "hypercorn", websocket=True),
    _python("uwsgi", "wsgi", ("uwsgi>=2",), "uwsgi", without=EMPTY, **UWSGI),
    _python("uwsgi-http", "wsgi", ("uwsgi>=2",), "uwsgi", without=EMPTY, **UWSGI),
    _python("django-runserver", "django", DJANGO, "django", server="runserver", without=DJANGO_EMPTY),
    _python(
        "django-gunicorn",
        "django",
        (*DJANGO, *GUNICORN),
        "gunicorn",
        "django",
        server="gunicorn-gthread",
        without=DJANGO_EMPTY,
    ),
    _python("flask", "flask", ("flask>=3",), "flask"),
    _python("flask-gunicorn", "flask", ("flask>=3", *GUNICORN), "gunicorn", "flask", server="gunicorn-gthread"),
    _python("fastapi", "fastapi", ("fastapi>=0.110", *UVICORN), "uvicorn", "fastapi", server="uvicorn", websocket=True),
    Row("http.server", "plain", "python", version=("python3", "--version"), without=BY_LENGTH),
    _ruby("puma", "rack", ("puma",), "puma"),
    _ruby("puma-cluster", "rack", ("puma",), "puma"),
    _ruby("puma-socket", "rack", ("puma",), "puma"),
    _ruby("rails", "rails", ("puma", "ruby-railties"), "puma", "railties", server="puma"),
    _ruby("sinatra", "sinatra", ("puma", "ruby-sinatra"), "puma", "sinatra", server="puma"),
    _ruby("unicorn", "rack", ("unicorn",), "unicorn"),
    _ruby("thin", "rack", ("thin",), "thin", without=RAW),
    _ruby("webrick", "rack", ("ruby-webrick",), "webrick", program="rackup"),
    _ruby("async-http", "async", ("ruby-async-http",), "async-http", server="ruby", program="ruby"),
    _node("node", "node", "node"),
    _node("npm", "node", "npm", debian=NPM, program="npm", version=("npm", "--version")),
    _framework("pm2"),
    _framework("express"),
    _framework("fastify", websocket=True),
    _node("node-cluster", "cluster", "node"),
    Row("php", "php", debian=("php-cli",), program="php", version=("php", "--version")),
    Row("php-fpm", "fpm", debian=("php-fpm", "lighttpd"), program="lighttpd", version=("sh", "-c", PHP_FPM)),
    Row(
        "busybox",
        "static",
        debian=("busybox",),
        program="busybox",
        version=("busybox",),
        without=ONLY_FILES,
        numbered=False,
    ),
    Row("java", "java", debian=("default-jdk-headless",), program="javac", version=("java", "--version")),
)
