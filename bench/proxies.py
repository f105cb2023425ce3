"""The proxies that are compared, and the upstreams behind them: how each is installed and started.

What each is told is in the directory ``peers``: one configuration or small script for each.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import string
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.machine import BenchError, Server, find, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
COMPILED = "rainbowd-compiled"
OURS = ("rainbowd", COMPILED)
NAMES = (*OURS, "nginx", "haproxy", "caddy", "http-proxy", "fast-proxy", "undici", "aiohttp")
FROM_NPM = ("http-proxy", "fast-proxy", "undici")
TUNNELS = (*OURS, "nginx", "haproxy", "caddy", "http-proxy", "aiohttp")
"""The proxies that forward an upgrade; fast-proxy and undici leave that to their users."""


@dataclass(frozen=True)
class Place:
    """Where and on what everything runs.

    Attributes:
        cache: what is installed; kept between runs.
        scratch: configurations, logs and files of this run.
        proxy_core, load_core: the proxy under test has one for itself, everything else shares the other.
    """

    cache: Path
    scratch: Path
    proxy_core: int
    load_core: int


def install(names: Sequence[str], cache: Path) -> None:
    """Have ready all that the peers of these names and their load need.

    Raises:
        BenchError: it is not there and cannot be installed.
    """
    needed = ["nginx", "wrk", "taskset", *(name for name in names if name in {"haproxy", "caddy"})]
    needed += ["node", "npm"] if set(names) & set(FROM_NPM) else []
    missing = [program for program in needed if find(program) is None]
    if missing:
        packages = " ".join({"node": "nodejs", "taskset": "util-linux"}.get(each, each) for each in missing)
        raise BenchError(f"not installed: {', '.join(missing)}; on Debian: apt-get install {packages}")
    if set(names) & set(FROM_NPM):
        _install_from_npm(cache)
    if "aiohttp" in names:
        _install_aiohttp(cache)
    if COMPILED in names:
        _install_compiled(cache)


def _install_from_npm(cache: Path) -> None:
    wanted = (PEERS / "package.json").read_bytes()
    installed = cache / "package.json"
    if (cache / "node_modules").is_dir() and installed.is_file() and installed.read_bytes() == wanted:
        return
    shutil.rmtree(cache / "node_modules", ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    installed.write_bytes(wanted)
    command = [find("npm") or "npm", "install", "--prefix", str(cache), "--no-audit", "--no-fund", "--ignore-scripts"]
    _run(command, f"the node proxies cannot be installed into {cache}")


def _install_aiohttp(cache: Path) -> None:
    requirements = PEERS / "requirements.txt"
    environment = cache / "venv"
    stamp = environment / "requirements.txt"
    if stamp.is_file() and stamp.read_bytes() == requirements.read_bytes():
        return
    failure = f"aiohttp cannot be installed into {environment}"
    _run([sys.executable, "-m", "venv", "--clear", str(environment)], failure)
    _run([str(environment / "bin/pip"), "install", "--quiet", "--requirement", str(requirements)], failure)
    stamp.write_bytes(requirements.read_bytes())


def _install_compiled(cache: Path) -> None:
    """Compile the source, if it has changed since it was compiled for this cache."""
    sources = [ROOT / "hatch_build.py", ROOT / "pyproject.toml", *sorted((ROOT / "rainbowd").rglob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    environment = cache / "compiled"
    stamp = environment / "source.sha256"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    print("bench: compiling rainbowd, which takes some minutes", file=sys.stderr)
    failure = f"the compiled rainbowd cannot be installed into {environment}"
    _run([sys.executable, "-m", "venv", "--clear", str(environment)], failure)
    request = {"HATCH_BUILD_HOOKS_ENABLE": "1"}
    _run([str(environment / "bin/pip"), "install", "--quiet", str(ROOT)], failure, request)
    stamp.write_text(digest)


def _run(command: Sequence[str], failure: str, environment: Mapping[str, str] | None = None) -> None:
    outcome = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if outcome.returncode:
        said = (outcome.stderr or outcome.stdout)[-1000:].strip()
        raise BenchError(f"{failure} (choose others with --peers): {said}")


@contextlib.contextmanager
def proxy(name: str, upstream_port: int, place: Place) -> Iterator[Server]:
    """The peer of this name in front of an upstream, alone on its core."""
    port = free_port()
    command = _command(name, port, upstream_port, place)
    log = place.scratch / f"{name}.log"
    environment = environment_of(name, place)
    with running(command, port, cores=[place.proxy_core], log=log, environment=environment) as server:
        yield server


def environment_of(name: str, place: Place) -> dict[str, str]:
    """What a peer needs in its environment, in addition to our own; only the pure rainbowd runs from the source."""
    if name == COMPILED:
        return {"PYTHONPATH": ""}
    if name == "caddy":  # it keeps its configuration and its certificates in these
        return {"GOMAXPROCS": "1", "XDG_CONFIG_HOME": str(place.scratch), "XDG_DATA_HOME": str(place.scratch)}
    return {"PYTHONPATH": str(ROOT), "NODE_PATH": str(place.cache / "node_modules"), "NODE_ENV": "production"}


def rainbowd(name: str, place: Place) -> list[str]:
    """The command of the pure or of the compiled rainbowd."""
    if name == COMPILED:
        return [str(place.cache / "compiled/bin/rainbowd")]
    return [sys.executable, "-m", "rainbowd"]


def _command(name: str, port: int, upstream_port: int, place: Place) -> list[str]:
    if name in OURS:
        addresses = ["--upstream", f"127.0.0.1:{upstream_port}", "--listen", f"127.0.0.1:{port}"]
        limits = ["--limit", "connections=null", "--limit", "idle_timeout=600"]
        return [*rainbowd(name, place), "proxy", *addresses, *limits]
    if name == "nginx":
        config = fill_in("nginx.conf", place, port=port, upstream_port=upstream_port)
        return [find("nginx") or name, "-c", str(config)]
    if name == "haproxy":
        config = fill_in("haproxy.cfg", place, port=port, upstream_port=upstream_port)
        return [find("haproxy") or name, "-db", "-f", str(config)]
    if name == "caddy":
        config = fill_in("Caddyfile", place, port=port, upstream_port=upstream_port)
        return [find("caddy") or name, "run", "--config", str(config), "--adapter", "caddyfile"]
    if name == "aiohttp":
        return [str(place.cache / "venv/bin/python"), str(PEERS / "aiohttp_proxy.py"), str(port), str(upstream_port)]
    return [find("node") or "node", str(PEERS / f"{name}.js"), str(port), str(upstream_port)]


@contextlib.contextmanager
def app(place: Place) -> Iterator[Server]:
    """The upstream that answers: nginx."""
    port = free_port()
    config = fill_in("upstream.conf", place, port=port)
    command = [find("nginx") or "nginx", "-c", str(config)]
    with running(command, port, cores=[place.load_core], log=place.scratch / "upstream.log") as server:
        yield server


@contextlib.contextmanager
def script(module: str, place: Place) -> Iterator[Server]:
    """An upstream of our own: a module that is given a port."""
    port = free_port()
    command = [sys.executable, "-m", module, str(port)]
    log = place.scratch / f"{module}.log"
    environment = {"PYTHONPATH": str(ROOT)}
    with running(command, port, cores=[place.load_core], log=log, environment=environment) as server:
        yield server


def versions(names: Sequence[str], cache: Path) -> dict[str, str]:
    """What was measured, for the record."""
    commands = {
        "rainbowd": [sys.executable, "-m", "rainbowd", "--version"],
        COMPILED: [str(cache / "compiled/bin/rainbowd"), "--version"],
        "nginx": [find("nginx") or "nginx", "-v"],
        "haproxy": [find("haproxy") or "haproxy", "-v"],
        "caddy": [find("caddy") or "caddy", "version"],
        "aiohttp": [str(cache / "venv/bin/python"), "-c", "import aiohttp; print('aiohttp', aiohttp.__version__)"],
        **{name: [find("node") or "node", "-p", _node_version(cache, name)] for name in FROM_NPM},
    }
    return {name: _first_line(commands[name]) for name in names}


def _node_version(cache: Path, name: str) -> str:
    package = cache / "node_modules" / name / "package.json"
    return f"'{name} ' + require('{package}').version + ', node ' + process.version"


def _first_line(command: Sequence[str]) -> str:
    outcome = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return outcome.stdout.strip().partition("\n")[0]


def fill_in(template: str, place: Place, **values: int | str) -> Path:
    """A configuration, filled in; nginx's worker must be able to read the files, so it stays who started it."""
    user = "user root;" if os.geteuid() == 0 else ""
    text = string.Template((PEERS / template).read_text())
    path = place.scratch / f"{values['port']}-{template}"
    path.write_text(text.substitute(values, directory=place.scratch, user=user))
    return path
