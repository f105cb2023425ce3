"""A real browser that holds a page of the previous release, with hashed CSS and JavaScript."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.support.wait import WebDriverWait

from tests.live.agent import PATIENCE_SECONDS, command, running
from tests.live.browser import chromium

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

LOAD = """
const done = arguments[arguments.length - 1]
load().then(done, error => done(`failed: ${error}`))
"""


def build(version: str) -> dict[str, str]:
    """Return the files of a release as a bundler makes them: their names have a hash of the version."""
    page = (
        f'<!doctype html><title>{version}</title><link rel="stylesheet" href="/assets/app.{version}.css">'
        f'<script type="module">window.load = async () => (await import("/assets/lazy.{version}.js")).told</script>'
    )
    return {
        "/shop": page,
        f"/assets/app.{version}.css": "title { color: red }",
        f"/assets/lazy.{version}.js": f'export const told = "lazy {version}"',
    }


@pytest.mark.parametrize("keeps", [{"standby": 60}, {"bake": 60}])
def test_a_chunk_that_the_old_page_loads_after_the_switch_is_found(tmp_path: Path, keeps: dict[str, int]) -> None:
    with running(tmp_path, assets=["/assets/"], **keeps) as agent, chromium(tmp_path / "profile") as driver:
        agent.add_release("v1", files=build("v1"))
        agent.add_release("v2", files=build("v2"))
        file = str(tmp_path / "rainbowd.json")
        assert (
            subprocess.run(command("deploy", "--config", file, "--now", "v1"), check=False, timeout=60).returncode == 0
        )
        driver.get(f"http://{agent.host}:{agent.port}/shop")
        WebDriverWait(driver, PATIENCE_SECONDS).until(lambda it: it.execute_script("return 'load' in window"))
        since = len(agent.events())
        agent.flip("v2")
        live = agent.wait_for("generation.live", since)
        assert driver.title == "v1"
        assert driver.execute_async_script(LOAD) == "lazy v1"
        driver.refresh()
        assert driver.title == "v2"
        assert driver.execute_async_script(LOAD) == "lazy v2"
        assert agent.status()["live"] == live["generation"]
