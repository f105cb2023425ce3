"""Guesses of the health check of an app, from its files alone."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from rainbowd.cli.source_files import files_near_top, read_source, src_layout_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rainbowd.cli.detected_app import Health

HEALTH_PATHS = (
    "/up",
    "/healthz",
    "/health",
    "/health/",
    "/healthcheck",
    "/ping",
    "/livez",
    "/api/health",
    "/api/healthz",
)
"""Usual paths of health pages, the likeliest first."""
ALIVE: dict[str, object] = {"path": "/", "status": "200-399,401,403,404"}
"""The health check if no health page is found: any answer of a working app is accepted."""

SOURCES = "*.py", "*.rb", "*.ru", "*.js", "*.mjs", "*.ts", "*.php", "*.java", "*.go", "*.pl", "*.psgi", "*.exs"
HEALTH_FILES = (
    *((f"{top}/api/{name}/route.*", f"/api/{name}") for top in ("app", "src/app") for name in ("health", "healthz")),
    *((f"{top}/{name}/route.*", f"/{name}") for top in ("app", "src/app") for name in ("up", "health", "healthz")),
    *((f"{top}/api/health.*", "/api/health") for top in ("pages", "src/pages", "server")),
    *((f"src/routes/{name}/+server.*", f"/{name}") for name in ("up", "health", "healthz")),
)
"""Files whose path is the path of their page, as in Next.js, Nuxt and SvelteKit."""
FILES_READ = 200


def with_path(release: Path, health: Health) -> Health:
    """Return the health check ``health`` with the path that the app's source contains."""
    if isinstance(health, str) and health != "/":
        return health
    extra = {} if isinstance(health, str) else {key: value for key, value in health.items() if key != "path"}
    path = _health_path(release)
    if path is None:
        return {**ALIVE, **extra}
    return {"path": path, **extra} if extra else path


def _health_path(release: Path) -> str | None:
    text = "\n".join(_sources(release))
    quoted = set(re.findall(r"[\"'](?:GET )?(/?[a-z]+(?:/[a-z]+)?/?)[\"']", text))
    for path in HEALTH_PATHS:
        if path in quoted or path.removeprefix("/") in quoted & {"up", "healthz", "health/", "healthcheck"}:
            return path
    return next((path for pattern, path in HEALTH_FILES if any(release.glob(pattern))), None)


def _sources(release: Path) -> Iterable[str]:
    files = [
        file for pattern in SOURCES for file in (*files_near_top(release, pattern), *src_layout_files(release, pattern))
    ]
    return map(read_source, files[:FILES_READ])


def of_django(settings: str) -> Health:
    """Return the fields that Django requires: for ALLOWED_HOSTS and SECURE_SSL_REDIRECT."""
    return _with_fields(settings, r"^ALLOWED_HOSTS\s*=\s*", r"^SECURE_SSL_REDIRECT\s*=\s*(?!False)")


def of_rails(release: Path) -> Health:
    """Return the fields that Rails requires: for config.hosts and config.force_ssl."""
    files = release / "config" / "application.rb", release / "config" / "environments" / "production.rb"
    return _with_fields(
        "\n".join(map(read_source, files)), r"^\s*config\.hosts\s*=\s*", r"^\s*config\.force_ssl\s*=\s*true"
    )


def _with_fields(settings: str, hosts: str, https: str) -> Health:
    """Return the first host in the list after ``hosts`` in ``settings``, and HTTPS if ``https`` is found."""
    health: dict[str, object] = {}
    host = _first_host(settings, hosts)
    if host is not None:
        health["host"] = host
    if re.search(https, settings, re.MULTILINE):
        health["headers"] = {"X-Forwarded-Proto": "https"}
    return {"path": "", **health} if health else "/"


def _first_host(settings: str, hosts: str) -> str | None:
    match = re.search(rf"{hosts}(\[[^\]]*\])", settings, re.MULTILINE)
    try:
        known = ast.literal_eval(match[1]) if match else []
    except (ValueError, SyntaxError):
        return None
    names = [host.lstrip(".") for host in known if isinstance(host, str) and host.strip(".*")]
    return None if "*" in known or "localhost" in names or not names else names[0]
