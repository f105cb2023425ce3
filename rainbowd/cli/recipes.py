"""How each server that people run is started: what ``rainbowd init`` writes and what the tests in tests/servers run."""

from __future__ import annotations

from dataclasses import dataclass, field

APP = "APP"
"""In ``run``: what the server is told to serve, which depends on what is in the release."""

TCP = "127.0.0.1:{port}"


@dataclass(frozen=True)
class Recipe:
    """One server.

    Attributes:
        run: its command; ``APP`` stands for what it serves.
        note: what is special about it, in a sentence or two.
        config: further keys of ``rainbowd.json``.
        serves: what ``APP`` is, a key of ``KINDS``; empty if the command has no ``APP``.
    """

    run: tuple[str, ...]
    note: str
    config: dict[str, object] = field(default_factory=dict)
    serves: str = ""


KINDS = {
    "wsgi": "a WSGI application, such as shop.wsgi:application",
    "asgi": "an ASGI application, such as shop.asgi:application",
    "asgi factory": "a function that makes an ASGI application, such as shop:create_app",
    "aiohttp": "a function that makes an aiohttp application, such as shop:init",
    "bottle": "a module, such as app",
    "sanic": "a Sanic application, such as server:app",
    "rack": "a Rack file, such as config.ru",
    "psgi": "a PSGI file, such as app.psgi",
    "mojolicious": "a Mojolicious program, such as app.pl",
    "python": "a Python program, such as server.py",
    "ruby": "a Ruby program, such as server.rb",
    "node": "a JavaScript program, such as server.js",
    "deno": "a program for Deno, such as main.ts",
    "php": "a PHP file, such as index.php",
    "php root": "a directory with an index.php, such as public",
    "directory": "a directory of files, such as .",
    "java": "a Java program, such as Server.java",
    "jar": "a jar, such as target/shop.jar",
    "program": "an executable, such as ./shop",
    "mix release": "the program of a mix release, such as _build/prod/rel/shop/bin/shop",
    "elixir": "an Elixir script, such as server.exs",
}
"""What servers serve, with examples for messages."""


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

OTHERS: dict[str, Recipe] = {
    "uvicorn-factory": Recipe(
        ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--factory", APP),
        "The application is made by a function.",
        serves="asgi factory",
    ),
    "bottle": Recipe(("bottle", "--bind", TCP, APP), "For development: one request at a time.", serves="bottle"),
    "sanic": Recipe(
        ("sanic", APP, "--host", "127.0.0.1", "--port", "{port}", "--single-process"),
        "One process; with several, Sanic's manager stays in front of them.",
        serves="sanic",
    ),
    "aiohttp": Recipe(
        ("python3", "-m", "aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", APP),
        "One process.",
        serves="aiohttp",
    ),
    "robyn": Recipe(
        ("python3", APP),
        "Robyn takes its port from ROBYN_PORT alone.",
        {"env": {"ROBYN_HOST": "127.0.0.1", "ROBYN_PORT": "{port}"}},
        serves="python",
    ),
    "python-env": Recipe(("python3", APP), "It has to listen on the PORT of its environment.", serves="python"),
    "streamlit": Recipe(
        (
            "streamlit",
            "run",
            APP,
            "--server.address",
            "127.0.0.1",
            "--server.port",
            "{port}",
            "--server.headless",
            "true",
        ),
        "Its sessions live in memory: a deploy ends them.",
        serves="python",
    ),
    "starman": Recipe(
        ("starman", "--listen", TCP, "--workers", "4", APP),
        "Its TERM breaks off what it is answering, its QUIT does not.",
        {"drain": {"signal": "QUIT"}, "env": {"PLACK_ENV": "production"}},
        serves="psgi",
    ),
    "plackup": Recipe(
        ("plackup", "--env", "production", "--host", "127.0.0.1", "--port", "{port}", APP),
        "For development: one request at a time. Starman serves the same file.",
        serves="psgi",
    ),
    "mojolicious": Recipe(
        ("perl", APP, "prefork", "--mode", "production", "--listen", f"http://{TCP}"),
        "Its TERM breaks off what it is answering, its QUIT does not.",
        {"drain": {"signal": "QUIT"}},
        serves="mojolicious",
    ),
    "npm-prod": Recipe(("npm", "run", "start:prod"), "npm start of NestJS is its compiler."),
    "next": Recipe(
        ("node_modules/.bin/next", "start", "--hostname", "127.0.0.1", "--port", "{port}"),
        "Build each release (next build) before its deploy.",
    ),
    "server-js": Recipe(
        ("node", APP),
        "Build each release before its deploy. It listens on the PORT of its environment.",
        {"env": {"HOST": "127.0.0.1"}},
        serves="node",
    ),
    "next-standalone": Recipe(
        ("node", APP),
        "Copy public and .next/static into the standalone directory when you build a release.",
        {"env": {"HOSTNAME": "127.0.0.1"}},
        serves="node",
    ),
    "bun": Recipe(("bun", "run", APP), "It has to listen on the PORT of its environment.", serves="node"),
    "bun-start": Recipe(("bun", "run", "start"), "It has to listen on the PORT of its environment."),
    "deno": Recipe(
        ("deno", "run", "--allow-net", "--allow-env", "--allow-read", APP),
        "It has to listen on the PORT of its environment.",
        serves="deno",
    ),
    "deno-serve": Recipe(
        ("deno", "serve", "--host", "127.0.0.1", "--port", "{port}", "--allow-env", "--allow-read", APP),
        "For a module that exports a fetch function.",
        serves="deno",
    ),
    "deno-start": Recipe(("deno", "task", "start"), "It has to listen on the PORT of its environment."),
    "php-root": Recipe(
        ("php", "-S", TCP, "-t", APP),
        "For development. One request at a time, but for its PHP_CLI_SERVER_WORKERS.",
        {"env": {"PHP_CLI_SERVER_WORKERS": "4"}},
        serves="php root",
    ),
    "jar": Recipe(
        ("java", "-Dserver.address=127.0.0.1", "-Dserver.port={port}", "-jar", APP),
        "The two properties are Spring Boot's. Other jars have to listen on the PORT of their environment.",
        serves="jar",
    ),
    "program": Recipe((APP,), "It has to listen on the PORT of its environment.", serves="program"),
    "program-addr": Recipe((APP, "-addr", TCP), "It takes its address as -addr.", serves="program"),
    "program-port": Recipe((APP, "-port", "{port}"), "It takes its port as -port.", serves="program"),
    "mix-release": Recipe(
        (APP, "start"),
        "Two generations run at the same time, so their node needs no name: RELEASE_DISTRIBUTION is none. "
        "It has to listen on the PORT of its environment.",
        {"env": {"PHX_SERVER": "true", "RELEASE_DISTRIBUTION": "none"}},
        serves="mix release",
    ),
    "elixir": Recipe(("elixir", APP), "It has to listen on the PORT of its environment.", serves="elixir"),
}
"""Those that the tests do not run under load."""

SERVERS = {**RECIPES, **OTHERS}
