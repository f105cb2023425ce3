"""What ``docs/api.md`` has its readers type does what it says."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.agent import ROOT, free_port, needs, running
from tests.live.api import Caller, enabled

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

PAGE = (ROOT / "docs" / "api.md").read_text()
DEFAULT_PORT = "7001"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def answers(text: str) -> list[str]:
    """Return the answers of calls, in order: each begins a line of its own."""
    return [line for line in text.splitlines() if line]


def test_the_lines_of_the_page_can_be_typed_as_they_are(tmp_path: Path) -> None:
    needs("curl")
    (script,) = [block for block in blocks("sh") if "curl" in block]
    port = free_port()
    assert script.count(f"localhost:{DEFAULT_PORT}") == 7
    with running(tmp_path, **enabled(port)) as agent:
        (agent.directory / ".rainbowd").symlink_to(agent.state_dir)
        agent.add_release("v2")
        Caller(agent, port).until_it_listens()
        typed = subprocess.run(
            ["sh", "-c", script.replace(f"localhost:{DEFAULT_PORT}", f"127.0.0.1:{port}")],
            cwd=agent.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    told = answers(typed.stdout)
    asked, deployed, back, status, history = (json.loads(line) for line in told[:5])
    assert asked.keys() == {"deploy"}
    assert (deployed["result"], deployed["release"].rpartition("/")[2]) == ("succeeded", "v2")
    assert (back["result"], back["release"].rpartition("/")[2]) == ("succeeded", "a")
    assert status["live"] == back["generation"]
    assert [entry["note"] for entry in history] == [None, "the new page", None, None]
    assert "rainbowd_live_generation " in typed.stdout
    assert "event: deploy.succeeded" in told
    assert typed.stderr.startswith("curl: (28) ")  # -m 2, after which nobody reads the events


def test_the_config_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = blocks("json")
    config: dict[str, Any] = json.loads(text)
    assert config == {"api": {"enabled": True, "listen": f"127.0.0.1:{DEFAULT_PORT}"}}


def test_the_page_documents_every_call() -> None:
    described = json.loads((ROOT / "rainbowd" / "api" / "openapi.json").read_text())["paths"]
    calls = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert calls - {"GET /"} == set(re.findall(r"^\| `((?:GET|POST) [^`]*)`", PAGE, re.MULTILINE))
