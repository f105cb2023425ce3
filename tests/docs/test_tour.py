"""The README's tour, pasted into a shell line by line: what it says it prints, and what it leaves behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import ROOT, Agent, needs

if TYPE_CHECKING:
    from pathlib import Path

TOUR = (ROOT / "README.md").read_text().partition("\n## A tour in one minute\n")[2].partition("\n## ")[0]
PARTS = ("examples", "rainbowd.json", ".gitignore")


def steps() -> list[tuple[str, list[str]]]:
    """Each command with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", TOUR, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def alike(lines: list[str]) -> list[str]:
    """The lines without what differs from one machine and moment to the next."""
    return [re.sub(r"by \S+ \(", "by … (", re.sub(r"\b\d{2,}\b|\b\d+\.\d+\b", "N", line)) for line in lines]


@pytest.mark.live
def test_the_tour_can_be_pasted_and_prints_what_it_says_and_leaves_no_file_changed(tmp_path: Path) -> None:
    needs("git")
    needs("curl")
    clone = tmp_path / "clone"
    clone.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, clone / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, clone / part)

    def shell(command: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=clone,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout.splitlines()

    shell("git init -q && git add -A && git -c user.name=a -c user.email=a@b commit -q -m all")
    agent = Agent(tmp_path)  # only for its port and its end
    agent.directory, agent.state_dir = clone, clone / ".rainbowd"
    listen = f"127.0.0.1:{agent.port}"
    with (tmp_path / "log").open("wb") as log:
        run = [sys.executable, "-m", "rainbowd", "--listen", listen]
        agent.process = subprocess.Popen(run, cwd=clone, stdout=log, stderr=log)
    try:
        agent.decision(0, trigger="start")
        for command, expected in steps():
            pasted = command.replace("localhost:7000", listen).replace(
                ".venv/bin/rainbowd", f"{sys.executable} -m rainbowd"
            )
            printed = shell(pasted.replace("curl ", "curl -sS "))
            if "rainbowd status" not in command:  # which shows times and widths of this machine
                assert sorted(alike(printed)) == sorted(alike(expected)), command
        assert shell("git status --porcelain") == []
    finally:
        agent.destroy()


def test_the_example_listens_where_the_run_line_says() -> None:
    assert "port 7000 of all interfaces" in (ROOT / "README.md").read_text()
    assert '"listen": "0.0.0.0:7000"' in (ROOT / "rainbowd.json").read_text()
