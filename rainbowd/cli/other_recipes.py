"""The commands of servers that the tests do not run under load."""

from __future__ import annotations

from rainbowd.cli.recipe import APP, TCP, Recipe

OTHERS: dict[str, Recipe] = {
    "uvicorn-factory": Recipe(
        ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--factory", APP),
        "The application is made by a function.",
        serves="asgi factory",
    ),
    "bottle": Recipe(("bottle", "--bind", TCP, APP), "For development: one request at a time.", serves="bottle"),
    "sanic": Recipe(
        ("sanic", APP, "--host", "127.0.0.1", "--port", "{port}", "--single-process"),
        "One process; with several, Sanic's manager stays their parent.",
        serves="sanic",
    ),
    "aiohttp": Recipe(
        ("python3", "-m", "aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", APP),
        "One process.",
        serves="aiohttp",
    ),
    "robyn": Recipe(
        ("python3", APP),
        "Robyn reads its port from ROBYN_PORT only.",
        {"env": {"ROBYN_HOST": "127.0.0.1", "ROBYN_PORT": "{port}"}},
        serves="python",
    ),
    "python-env": Recipe(("python3", APP), "It must listen on the port in the variable PORT.", serves="python"),
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
        "It keeps sessions in memory: a deploy ends them.",
        serves="python",
    ),
    "starman": Recipe(
        ("starman", "--listen", TCP, "--workers", "4", APP),
        "At TERM it breaks off requests in flight, at QUIT it finishes them.",
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
        "At TERM it breaks off requests in flight, at QUIT it finishes them.",
        {"drain": {"signal": "QUIT"}},
        serves="mojolicious",
    ),
    "npm-prod": Recipe(("npm", "run", "start:prod"), "In NestJS, npm start runs the compiler."),
    "next": Recipe(
        ("node_modules/.bin/next", "start", "--hostname", "127.0.0.1", "--port", "{port}"),
        "Build each release (next build) before its deploy.",
    ),
    "server-js": Recipe(
        ("node", APP),
        "Build each release before its deploy. It listens on the port in the variable PORT.",
        {"env": {"HOST": "127.0.0.1"}},
        serves="node",
    ),
    "next-standalone": Recipe(
        ("node", APP),
        "Copy public and .next/static into the standalone directory when you build a release.",
        {"env": {"HOSTNAME": "127.0.0.1"}},
        serves="node",
    ),
    "bun": Recipe(("bun", "run", APP), "It must listen on the port in the variable PORT.", serves="node"),
    "bun-start": Recipe(("bun", "run", "start"), "It must listen on the port in the variable PORT."),
    "deno": Recipe(
        ("deno", "run", "--allow-net", "--allow-env", "--allow-read", APP),
        "It must listen on the port in the variable PORT.",
        serves="deno",
    ),
    "deno-serve": Recipe(
        ("deno", "serve", "--host", "127.0.0.1", "--port", "{port}", "--allow-env", "--allow-read", APP),
        "For a module that exports a fetch function.",
        serves="deno",
    ),
    "deno-start": Recipe(("deno", "task", "start"), "It must listen on the port in the variable PORT."),
    "php-root": Recipe(
        ("php", "-S", TCP, "-t", APP),
        "For development. Each of PHP_CLI_SERVER_WORKERS answers one request at a time.",
        {"env": {"PHP_CLI_SERVER_WORKERS": "4"}},
        serves="php root",
    ),
    "jar": Recipe(
        ("java", "-Dserver.address=127.0.0.1", "-Dserver.port={port}", "-jar", APP),
        "The two properties are Spring Boot's. Other jars must listen on the port in the variable PORT.",
        serves="jar",
    ),
    "program": Recipe((APP,), "It must listen on the port in the variable PORT.", serves="program"),
    "program-addr": Recipe((APP, "-addr", TCP), "It gets its address from the flag -addr.", serves="program"),
    "program-port": Recipe((APP, "-port", "{port}"), "It gets its port from the flag -port.", serves="program"),
    "mix-release": Recipe(
        (APP, "start"),
        "Two generations run at the same time, so their node needs no name: RELEASE_DISTRIBUTION is none. "
        "It must listen on the port in the variable PORT.",
        {"env": {"PHX_SERVER": "true", "RELEASE_DISTRIBUTION": "none"}},
        serves="mix release",
    ),
    "elixir": Recipe(("elixir", APP), "It must listen on the port in the variable PORT.", serves="elixir"),
}
