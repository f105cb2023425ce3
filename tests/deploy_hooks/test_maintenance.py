"""The maintenance habits of Capistrano and Laravel, as docs/deploying.md has them."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.deploy_hooks.server import run
from tests.live.agent import ROOT, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.agent import Agent

pytestmark = pytest.mark.live

PAGE = (ROOT / "docs" / "deploying.md").read_text()
SECTION = PAGE.partition("\n## Maintenance pages\n")[2].partition("\n## ")[0]


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def answer(agent: Agent) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://{agent.host}:{agent.port}/", timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def until_answered(agent: Agent, status: int) -> bytes:
    deadline = time.monotonic() + 30
    while (found := answer(agent))[0] != status:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[1]


def test_the_file_that_capistrano_uploads_and_removes_is_the_maintenance_page(tmp_path: Path) -> None:
    rules = json.loads(block("json"))["maintenance"]
    file = tmp_path / "shared" / "system" / "maintenance.html"
    assert rules["file"].endswith("/shared/system/maintenance.html")
    with running(tmp_path, maintenance={**rules, "file": str(file)}) as agent:
        file.parent.mkdir(parents=True)  # the task makes it before it uploads
        file.write_text("<h1>The system is down for maintenance</h1>")
        file.chmod(0o644)
        assert until_answered(agent, 503) == b"<h1>The system is down for maintenance</h1>"
        file.unlink()
        until_answered(agent, 200)


def test_a_laravel_migration_runs_behind_its_own_page(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        (tmp_path / "resources" / "views" / "errors").mkdir(parents=True)
        (tmp_path / "resources" / "views" / "errors" / "503.html").write_text("<h1>Be right back</h1>")
        (tmp_path / "stubs").mkdir()
        php = tmp_path / "stubs" / "php"
        php.write_text(
            f'#!/bin/sh\necho "php $*" >>{tmp_path}/ran\ncurl -s http://127.0.0.1:{agent.port}/ >>{tmp_path}/ran\n'
        )
        php.chmod(0o755)
        script = f'PATH="{tmp_path}/stubs:$PATH"\n{block("sh")}'
        done = run(tmp_path, "sh", "-ec", script, cwd=tmp_path)
        assert done.status == 0, done.output
        ran = (tmp_path / "ran").read_text()
        assert ran == "php artisan migrate --force\n<h1>Be right back</h1>\n"
        until_answered(agent, 200)
