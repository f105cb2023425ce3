"""The command to start each server: what ``rainbowd init`` writes and what the tests in tests/servers run."""

from __future__ import annotations

from rainbowd.cli.other_recipes import OTHERS
from rainbowd.cli.recipe import APP, TCP, Recipe

_GUNICORN = ("gunicorn", "--bind", TCP)
_TWO = ("--workers", "2")

RECIPES: dict[str, Recipe] = {
    "gunicorn": Recipe(
        (*_GUNICORN, "--workers", "4", APP),
        "A sync worker answers one request at a time and keeps no connection.",
        serves="wsgi",
    ),
    "gunicorn-gthread": Recipe(
        (*_GUNICORN, *_TWO, "--threads", "4", APP),
        "At TERM it closes kept connections; rainbowd closes its own first.",
        serves="wsgi",
    ),
    "gunicorn-gevent": Recipe(
        (*_GUNICORN, *_TWO, "--worker-class", "gevent", APP), "Needs gevent and packaging beside it.", serves="wsgi"
    ),
    "gunicorn-daemon": Recipe(
        (*_GUNICORN, *_TWO, "--threads", "4", "--daemon", "--pid", "{pidfile}", APP),
        "It leaves rainbowd's process tree, and is known by its pidfile. Its output goes nowhere: rather let it not.",
        serves="wsgi",
    ),
    "gunicorn-socket": Recipe(
        ("gunicorn", "--bind", "unix:{socket}", *_TWO, "--threads", "4", APP), "No port at all.", serves="wsgi"
    ),
    "uvicorn": Recipe(
        ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", APP),
        "WebSockets need uvicorn[standard], or websockets beside it.",
        serves="asgi",
    ),
    "uvicorn-workers": Recipe(
        ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", *_TWO, APP),
        "The parent listens, its workers answer.",
        serves="asgi",
    ),
    "hypercorn": Recipe(("hypercorn", "--bind", TCP, APP), "Its HTTP/2 is not asked for.", serves="asgi"),
    "uwsgi": Recipe(
        ("uwsgi", "--http-socket", TCP, "--module", APP, "--master", "--processes", "4", "--need-app", "--die-on-term"),
        "Without --die-on-term TERM means reload. Bodies in chunks an app gets by uwsgi.chunked_read().",
        serves="wsgi",
    ),
    "uwsgi-http": Recipe(
        ("uwsgi", "--http", TCP, "--module", APP, "--master", "--processes", "4", "--need-app", "--die-on-term"),
        "A router process before the workers.",
        serves="wsgi",
    ),
    "runserver": Recipe(
        ("python3", "manage.py", "runserver", "--noreload", TCP),
        "For development. Without --noreload it would restart itself when the release's files change.",
    ),
    "flask": Recipe(
        ("flask", "--app", APP, "run", "--host", "127.0.0.1", "--port", "{port}"),
        "For development: no keep-alive.",
        serves="wsgi",
    ),
    "python": Recipe(("python3", APP, "{port}"), "A program of one's own, here on http.server.", serves="python"),
    "puma": Recipe(("puma", "--bind", f"tcp://{TCP}", APP), "Threads in one process.", serves="rack"),
    "puma-cluster": Recipe(
        ("puma", "--bind", f"tcp://{TCP}", *_TWO, APP), "Workers forked from one process.", serves="rack"
    ),
    "puma-socket": Recipe(("puma", "--bind", "unix://{socket}", APP), "No port at all.", serves="rack"),
    "unicorn": Recipe(
        ("unicorn", "--listen", TCP, APP),
        "Keeps no connection. Its TERM breaks off what it is answering, its QUIT does not. One worker, which answers "
        "one request at a time, but for worker_processes in a file of its own (--config-file).",
        {"drain": {"signal": "QUIT"}},
        serves="rack",
    ),
    "thin": Recipe(
        ("thin", "start", "--address", "127.0.0.1", "--port", "{port}", "--rackup", APP),
        "One request at a time. Its TERM breaks off what it is answering, its QUIT does not.",
        {"drain": {"signal": "QUIT"}},
        serves="rack",
    ),
    "webrick": Recipe(
        ("rackup", "--server", "webrick", "--host", "127.0.0.1", "--port", "{port}", APP),
        "rackup shuts down at INT; TERM just kills it.",
        {"drain": {"signal": "INT"}},
        serves="rack",
    ),
    "ruby": Recipe(
        ("ruby", APP, "{port}"), "A program of one's own, here on async-http, the engine of falcon.", serves="ruby"
    ),
    "node": Recipe(("node", APP), "Listens on the PORT of its environment.", serves="node"),
    "npm": Recipe(("npm", "start"), "npm stays before the server, and passes signals on; node without npm is simpler."),
    "pm2": Recipe(
        ("pm2-runtime", APP),
        "pm2 has one daemon for each user. PM2_HOME gives each generation its own, which ends with it.",
        {"env": {"PM2_HOME": "{pidfile}-pm2"}},
        serves="node",
    ),
    "php": Recipe(
        ("php", "-S", TCP, APP),
        "For development. One request at a time, but for its PHP_CLI_SERVER_WORKERS.",
        {"env": {"PHP_CLI_SERVER_WORKERS": "4"}},
        serves="php",
    ),
    "php-fpm": Recipe(
        ("sh", "serve", "{port}", "{pidfile}"),
        "It speaks no HTTP: the script `serve` starts it and a small lighttpd before it, which hands it each request "
        "whole, also one that came in chunks. rainbowd ends both. The files are in tests/servers/apps/fpm.",
    ),
    "busybox": Recipe(("busybox", "httpd", "-f", "-p", TCP, "-h", APP), "Static files.", serves="directory"),
    "java": Recipe(
        ("java", APP), "Listens on the PORT of its environment. A JVM takes its time to boot.", serves="java"
    ),
}

SERVERS = {**RECIPES, **OTHERS}
