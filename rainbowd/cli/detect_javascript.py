"""JavaScript apps, for Node, Bun and Deno."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from rainbowd.cli.detected_app import DetectedApp
from rainbowd.cli.source_files import read_source

if TYPE_CHECKING:
    from pathlib import Path

BUILT = (
    ("nuxt", "Nuxt", ".output/server/index.mjs"),
    ("@sveltejs/adapter-node", "SvelteKit", "build/index.js"),
    ("@astrojs/node", "Astro", "dist/server/entry.mjs"),
)
"""Frameworks whose build contains its own server: the package, the name of the framework, and the program."""

_FIXED_PORT = re.compile(r"(?:-p|--port)[ =]\d+|\bPORT=\d+")
_DEVELOPMENT = re.compile(r"\b(?:nodemon|vite|nest start|ng serve|react-scripts start|next dev|nuxt dev|ts-node)\b")


def find_javascript(release: Path) -> DetectedApp | None:
    """Return the app of a deno.json or a package.json; None if there is neither."""
    return _deno(release) or _package(release)


def _package(release: Path) -> DetectedApp | None:
    package = _object(release / "package.json")
    if not package:
        return None
    scripts = _inner(package, "scripts")
    start = scripts.get("start") if isinstance(scripts.get("start"), str) else None
    return _framework(release, package, scripts) or (
        _start(release, start) if start is not None else _main(release, package)
    )


def _framework(release: Path, package: dict[str, Any], scripts: dict[str, Any]) -> DetectedApp | None:
    """Return the app as its framework runs it, regardless of ``npm start``; None if no framework is found."""
    packages = _inner(package, "dependencies").keys() | _inner(package, "devDependencies").keys()
    for needed, name, program in BUILT:
        if needed in packages:
            return DetectedApp([name], "server-js", {"node": program})
    if "next" in packages and _is_standalone(release):
        return DetectedApp(
            ["Next.js, with its standalone output"], "next-standalone", {"node": ".next/standalone/server.js"}
        )
    if "next" in packages and "next start" in str(scripts.get("start", "next start")):
        return DetectedApp(["Next.js"], "next")
    if "@nestjs/core" in packages:
        production = str(scripts.get("start:prod", "node dist/main"))
        plain = re.fullmatch(r"node (\S+)", production)
        seen = [f"NestJS, which is run by: {production}"]
        return DetectedApp(seen, "node", {"node": plain[1]}) if plain else DetectedApp(seen, "npm-prod")
    return None


def _is_standalone(release: Path) -> bool:
    texts = (read_source(file) for file in sorted(release.glob("next.config.*")))
    return any(re.search(r"output:\s*[\"']standalone[\"']", text) for text in texts)


def _start(release: Path, start: str) -> DetectedApp:
    plain = re.fullmatch(r"node (\S+)", start)
    if plain is not None:
        return DetectedApp([f"Node, npm start is: {start}"], "node", {"node": plain[1]})
    is_bun = _is_bun(release)
    found = DetectedApp(
        [f"{'Bun' if is_bun else 'Node'}, the start script is: {start}"], "bun-start" if is_bun else "npm"
    )
    if _FIXED_PORT.search(start):
        found.notes.append("the start script has a fixed port; each generation needs the port in the variable PORT")
    if _DEVELOPMENT.search(start):
        found.notes.append("the start script is a development server; write a command for production")
    return found


def _main(release: Path, package: dict[str, Any]) -> DetectedApp | None:
    names = [package.get("main"), package.get("module"), "server.js", "app.js", "index.js", "index.ts", "server.ts"]
    main = next((name for name in names if isinstance(name, str) and (release / name).is_file()), None)
    if main is None:
        return None
    if _is_bun(release):
        return DetectedApp(["Bun"], "bun", {"node": main})
    return None if main.endswith(".ts") else DetectedApp(["Node"], "node", {"node": main})


def _is_bun(release: Path) -> bool:
    return any((release / name).is_file() for name in ("bun.lock", "bun.lockb", "bunfig.toml"))


def _deno(release: Path) -> DetectedApp | None:
    file = next((one for name in ("deno.json", "deno.jsonc") if (one := release / name).is_file()), None)
    names = ("main.ts", "server.ts", "main.js", "mod.ts")
    main = next((name for name in names if (release / name).is_file()), None)
    text = read_source(release / main) if main else ""
    if file is None and "Deno." not in text:
        return None
    if main is not None and re.search(r"^export default \{(?s:.*)\bfetch\b", text, re.MULTILINE):
        return DetectedApp([f"Deno, {main}"], "deno-serve", {"deno": main})
    if file is not None and re.search(r'"start"\s*:', read_source(file)):
        return DetectedApp(["Deno, task start"], "deno-start")
    return DetectedApp([f"Deno, {main}"], "deno", {"deno": main}) if main else None


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_source(file) or "null")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _inner(package: dict[str, Any], key: str) -> dict[str, Any]:
    found = package.get(key)
    return found if isinstance(found, dict) else {}
