"""A browser that holds the page of an old release loads its hashed files: ``python -m tests.servers.hashed_assets``.

Each site is built twice, by Django or Vite, so that both releases have files of other names.  Chromium opens the page
of the first release, the second goes live, and the page then loads a chunk that it has not loaded before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selenium.webdriver.support.wait import WebDriverWait

from tests.live.agent import PATIENCE_SECONDS, Agent
from tests.live.browser import chromium
from tests.servers.environments import Missing, install_with_npm, install_with_pip, npm_place, path_with, pip_place
from tests.servers.rows import APPS

if TYPE_CHECKING:
    from selenium import webdriver

ENVIRONMENTS = Path("~/.cache/rainbowd-servers")
STANDBY_SECONDS = 300
LOAD = """
const done = arguments[arguments.length - 1]
load().then(done, error => done(`failed: ${error}`))
"""
STYLE = "return getComputedStyle(document.querySelector('p')).getPropertyValue(arguments[0])"


@dataclass(frozen=True)
class Site:
    """A site with hashed files.

    Attributes:
        name: of what hashes them; also of the directory in ``apps``.
        prefix: of the files' paths.
        build: the command that builds a release, in its directory.
        run: the command of the app.
        pip: what both need from PyPI.
        is_npm: whether they need what the app's ``package.json`` names.
    """

    name: str
    prefix: str
    build: tuple[str, ...]
    run: tuple[str, ...]
    pip: tuple[str, ...] = ()
    is_npm: bool = False


SITES = (
    Site(
        "django_assets",
        "/static/",
        ("python", "manage.py", "collectstatic", "--noinput", "-v", "0"),
        ("gunicorn", "shop.wsgi", "--bind", "127.0.0.1:{port}"),
        pip=("django>=4.2", "gunicorn>=23", "whitenoise>=6"),
    ),
    Site(
        "vite",
        "/assets/",
        ("vite", "build", "--logLevel", "error"),
        (sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1", "--directory", "dist"),
        is_npm=True,
    ),
)


def prepare(site: Site, environments: Path) -> dict[str, str]:
    """Install what ``site`` needs, unless it is there already, and return the environment that finds it.

    Raises:
        Missing: it cannot be installed.
    """
    found = {"PATH": path_with(install_with_pip(site.name, site.pip, environments) if site.pip else None)}
    if site.is_npm:
        modules = install_with_npm(site.name, site.name, environments) / "node_modules"
        found |= {"NODE_PATH": str(modules), "PATH": f"{modules}/.bin:{found['PATH']}"}
    return found


def is_ready(site: Site, environments: Path) -> bool:
    """Return whether ``prepare`` has nothing to install."""
    place = npm_place(site.name, environments) if site.is_npm else pip_place(site.pip, environments)
    return (place / "complete").exists()


def build(site: Site, release: Path, environment: dict[str, str]) -> None:
    """Build a release named after its directory."""
    shutil.copytree(APPS / site.name, release, ignore=shutil.ignore_patterns("__pycache__"))
    for file in filter(Path.is_file, release.rglob("*")):
        file.write_text(file.read_text().replace("VERSION", release.name))
    subprocess.run(site.build, cwd=release, env={**os.environ, **environment}, check=True)


def run(site: Site, directory: Path, environments: Path, *, has_assets: bool = True) -> list[str]:
    """Deploy a second release while a browser has the page of the first, and return what went wrong.

    Args:
        site: what to build and run.
        directory: an empty one, for the site.
        environments: what is installed, kept from run to run.
        has_assets: whether ``assets`` names the site's prefix.
    """
    environment = prepare(site, environments)
    for version in ("v1", "v2"):
        build(site, directory / "releases" / version, environment)
    agent = Agent(
        directory,
        run=list(site.run),
        health="/",
        env=environment,
        standby=STANDBY_SECONDS,
        assets=[site.prefix] if has_assets else [],
    )
    agent.flip("v1")
    agent.start()
    try:
        agent.decision(0, trigger="start")
        with chromium(directory / "profile") as driver:
            return look(agent, driver)
    finally:
        agent.destroy()


def look(agent: Agent, driver: webdriver.Chrome) -> list[str]:
    """Open the page of ``v1``, deploy ``v2``, and return which files the pages did not get."""

    def open_page(query: str) -> None:
        driver.get(f"http://{agent.host}:{agent.port}/?{query}")  # another page to the browser's cache
        WebDriverWait(driver, PATIENCE_SECONDS).until(lambda it: it.execute_script("return 'load' in window"))

    def seen(name: str) -> Any:
        return driver.execute_script(STYLE, name).strip().strip('"')

    open_page("old")
    found = {"title of the old page": (driver.title, "v1"), "style of the old page": (seen("--version"), "v1")}
    since = len(agent.events())
    agent.flip("v2")
    agent.wait_for("deploy.succeeded", since)
    found["chunk of the old page"] = (driver.execute_async_script(LOAD), "lazy v1")
    open_page("new")
    found["title of the new page"] = (driver.title, "v2")
    found["style of the new page"] = (seen("--version"), "v2")
    found["chunk of the new page"] = (driver.execute_async_script(LOAD), "lazy v2")
    return [f"{what}: found {told!r}; expected {due!r}" for what, (told, due) in found.items() if told != due]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.hashed_assets", description="Deploy hashed files.")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"of {', '.join(site.name for site in SITES)}")
    parser.add_argument("--without", action="store_true", help="without the key `assets`, to see what is lost then")
    parser.add_argument(
        "--environments", type=Path, default=ENVIRONMENTS, metavar="DIR", help="what is installed; default: %(default)s"
    )
    options = parser.parse_args()
    is_bad = False
    for site in SITES:
        if options.only and site.name not in options.only:
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="assets-") as directory:
                failures = run(site, Path(directory), options.environments.expanduser(), has_assets=not options.without)
        except Missing as problem:
            failures = [str(problem)]
        is_bad |= bool(failures)
        print(f"{site.name:15} {'; '.join(failures) or 'every file was found'}", flush=True)
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
