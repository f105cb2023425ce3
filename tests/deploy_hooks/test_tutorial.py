"""The tutorial, line by line, but for what root does: packages, a user, systemd and nginx."""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.deploy_hooks.server import Run, run
from tests.live.agent import ROOT, Agent, needs

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(r"^```sh (hello|you)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.live
def test_the_tutorial_leads_from_an_empty_directory_to_a_push_that_is_live(tmp_path: Path) -> None:
    needs("git")
    server, machine = tmp_path / "hello", tmp_path / "you"
    server.mkdir()
    machine.mkdir()
    (machine / "rainbowd").symlink_to(ROOT)
    agent = Agent(server)
    (server / "rainbowd.json").unlink()
    places = {
        "hello@hello.example.org:": f"{server}/",
        "/usr/local/src/rainbowd": str(ROOT),
        "/srv/hello": str(server),
        "127.0.0.1:7000": f"127.0.0.1:{agent.port}",
    }
    steps = [(who, replaced(text, places)) for who, text in BLOCK.findall((ROOT / "docs/tutorial.md").read_text())]
    where = {"hello": server, "you": machine}

    def follow(expected: str) -> Run:
        assert steps[0][0] == expected
        done = run(tmp_path, "bash", "-ec", steps.pop(0)[1], cwd=where[expected])
        assert done.status == 0, done.output
        return done

    def version() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{agent.port}/version", timeout=20) as answer:
            return str(answer.read().decode())

    follow("hello")
    follow("hello")
    agent.state_dir = server / ".rainbowd"
    agent.start()
    try:
        agent.wait_until(lambda: {} if (agent.state_dir / "status.json").exists() else None, "a status")
        assert "is live: generation 1" in follow("you").output
        where["you"] = machine / "hello"
        assert version().startswith("v1, ")
        assert "is live: generation 2" in follow("you").output
        assert version().startswith("v2, ")
        assert "out of order" in follow("you").output
        assert version().startswith("v2, ")
        history = follow("hello").output
        assert version().startswith("v1, ")
        assert "Turn green" in history
        assert "Break it" in history
        assert steps == []
    finally:
        agent.destroy()


def replaced(text: str, places: dict[str, str]) -> str:
    for shipped, here in places.items():
        text = text.replace(shipped, here)
    return text
