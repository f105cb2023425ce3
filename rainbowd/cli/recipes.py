"""The command to start each server: what ``rainbowd init`` writes and what the tests in tests/servers run."""

from __future__ import annotations

from rainbowd.cli.other_recipes import OTHERS
from rainbowd.cli.recipe import APP, TCP, Recipe

_GUNICORN = ("gunicorn", "--bind", TCP)
_TWO = ("--workers", "2")

RECIPES: dict[str, Recipe] = {
    "gunicorn": Recipe(
        (*_GUNICORN, "--workers", "4", APP),
        "A sync worker answers one request at a time, without keep-alive.",
        serves="wsgi",
    ),
    "gunicorn-gthread": Recipe(
        (*_GUNICORN, *_TWO, "--threads", "4", APP),
        "At TERM, it closes idle connections. rainbowd closes its connections to the app before that.",
        serves="wsgi",
    ),
    "gunicorn-gevent": Recipe(
        (*_GUNICORN, *_TWO, "--worker-class", "gevent", APP),
        "It also needs the packages gevent and packaging.",
        serves="wsgi",
    ),
    "gunicorn-daemon": Recipe(
        (*_GUNICORN, *_TWO, "--threads", "4", "--daemon", "--pid", "{pidfile}", APP),
        "It becomes a daemon, which rainbowd finds by its pidfile. Its output is lost: avoid --daemon if you can.",
        serves="wsgi",
    ),
    "gunicorn-socket": Recipe(
        ("gunicorn", "--bind", "unix:{socket}", *_TWO, "--threads", "4", APP),
        "It listens on a Unix socket instead of a port.",
        serves="wsgi",
    ),
    "uvicorn": Recipe(
        ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", APP),
        "WebSockets need uvicorn[standard], or the package websockets.",
        serves="asgi",
    ),
    "uvicorn-workers": Recipe(
        ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", *_TWO, APP),
        "A parent process listens, and workers answer.",
        serves="asgi",
    ),
    "hypercorn": Recipe(("hypercorn", "--bind", TCP, APP), "rainbowd uses HTTP/1.1, not its HTTP/2.", serves="asgi"),
    "uwsgi": Recipe(
        ("uwsgi", "--http-socket", TCP, "--module", APP, "--master", "--processes", "4", "--need-app", "--die-on-term"),
        "Without --die-on-term, TERM makes it reload. The app reads chunked bodies with uwsgi.chunked_read().",
        serves="wsgi",
    ),
    "uwsgi-http": Recipe(
        ("uwsgi", "--http", TCP, "--module", APP, "--master", "--processes", "4", "--need-app", "--die-on-term"),
        "A router process passes requests to the workers.",
        serves="wsgi",
    ),
    "runserver": Recipe(
        ("python3", "manage.py", "runserver", "--noreload", TCP),
        "For development. Without --noreload, it restarts itself when files of the release change.",
    ),
    "flask": Recipe(
        ("flask", "--app", APP, "run", "--host", "127.0.0.1", "--port", "{port}"),
        "For development. It has no keep-alive.",
        serves="wsgi",
    ),
    "python": Recipe(("python3", APP, "{port}"), "A program of your own, here with http.server.", serves="python"),
    "puma": Recipe(("puma", "--bind", f"tcp://{TCP}", APP), "One process with threads.", serves="rack"),
    "puma-cluster": Recipe(
        ("puma", "--bind", f"tcp://{TCP}", *_TWO, APP),
        "Processes with threads, forked from one.",
        serves="rack",
    ),
    "puma-socket": Recipe(
        ("puma", "--bind", "unix://{socket}", APP), "It listens on a Unix socket instead of a port.", serves="rack"
    ),
    "unicorn": Recipe(
        ("unicorn", "--listen", TCP, APP),
        "It has no keep-alive. At TERM it breaks off requests in flight, at QUIT it finishes them. Its one worker "
        "answers one request at a time; set worker_processes in a file, named by --config-file, for more.",
        {"drain": {"signal": "QUIT"}},
        serves="rack",
    ),
    "thin": Recipe(
        ("thin", "start", "--address", "127.0.0.1", "--port", "{port}", "--rackup", APP),
        "It answers one request at a time. At TERM it breaks off requests in flight, at QUIT it finishes them.",
        {"drain": {"signal": "QUIT"}},
        serves="rack",
    ),
    "webrick": Recipe(
        ("rackup", "--server", "webrick", "--host", "127.0.0.1", "--port", "{port}", APP),
        "At INT, rackup shuts down gracefully; at TERM, it dies at once.",
        {"drain": {"signal": "INT"}},
        serves="rack",
    ),
    "ruby": Recipe(
        ("ruby", APP, "{port}"), "A program of your own, here with async-http, the engine of falcon.", serves="ruby"
    ),
    "node": Recipe(("node", APP), "It listens on the port in the variable PORT.", serves="node"),
    "npm": Recipe(
        ("npm", "start"),
        "npm stays the parent of the server and forwards signals to it. Running node without npm is simpler.",
    ),
    "pm2": Recipe(
        ("pm2-runtime", APP),
        "pm2 has one daemon for each user. PM2_HOME gives each generation a daemon of its own, which exits with it.",
        {"env": {"PM2_HOME": "{pidfile}-pm2"}},
        serves="node",
    ),
    "php": Recipe(
        ("php", "-S", TCP, APP),
        "For development. Each of PHP_CLI_SERVER_WORKERS answers one request at a time.",
        {"env": {"PHP_CLI_SERVER_WORKERS": "4"}},
        serves="php",
    ),
    "php-fpm": Recipe(
        ("sh", "serve", "{port}", "{pidfile}"),
        "php-fpm speaks FastCGI instead of HTTP. The script `serve` starts it, with a small lighttpd in front that "
        "forwards each request, also a chunked one. rainbowd stops both. The files are in tests/servers/apps/fpm.",
    ),
    "busybox": Recipe(("busybox", "httpd", "-f", "-p", TCP, "-h", APP), "It serves static files.", serves="directory"),
    "java": Recipe(
        ("java", APP), "It listens on the port in the variable PORT. A JVM takes some seconds to start.", serves="java"
    ),
}

SERVERS = {**RECIPES, **OTHERS}
