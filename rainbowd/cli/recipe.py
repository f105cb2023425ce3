"""The description of how to start one server, and the kinds of apps that servers serve."""

from __future__ import annotations

from dataclasses import dataclass, field

APP = "APP"
"""In ``run``, the placeholder for the app that the server serves, which depends on the release."""

TCP = "127.0.0.1:{port}"


@dataclass(frozen=True)
class Recipe:
    """The way to start one server.

    Attributes:
        run: the command; ``APP`` stands for the app.
        note: what a user should know about this server, in one or two sentences.
        config: more keys of ``rainbowd.json``.
        serves: the kind of app, a key of ``KINDS``; empty if the command does not contain ``APP``.
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
"""The kinds of apps that servers serve, with examples for messages."""
