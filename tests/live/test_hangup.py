"""What a HUP from a terminal, from nohup(1) and from a deployer comes to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import ROOT, Agent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextlib.contextmanager
def started(
    directory: Path, prefix: Sequence[str], words: str = "", stdin: int = subprocess.DEVNULL
) -> Iterator[Agent]:
    """Start an agent by ``prefix``: with its command, or with a shell into which ``words`` are typed."""
    agent = Agent(directory)
    agent.add_release("a")
    agent.flip("a")
    command = [sys.executable, "-m", "rainbowd", "--config", str(directory / "rainbowd.json")]
    with agent.output_file.open("ab") as output:
        agent.process = subprocess.Popen(
            [*prefix, *([] if words else command)],
            cwd=directory,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "RAINBOWD": " ".join(command)},
            start_new_session=stdin == subprocess.DEVNULL,
        )
    try:
        yield agent
    finally:
        agent.destroy()


def kinds(agent: Agent) -> list[object]:
    return [event["trigger"] for event in agent.events() if event["event"] == "deploy.requested"]


@pytest.mark.parametrize("by", ["the kernel", "a shell"])
def test_a_terminal_that_is_closed_stops_the_agent_and_deploys_nothing(tmp_path: Path, by: str) -> None:
    ours, theirs = os.openpty()
    words = "$RAINBOWD &\n" if by == "a shell" else ""
    prefix = ["setsid", "--ctty", *(["bash", "--norc", "-i"] if words else [])]
    with started(tmp_path, prefix, words, stdin=theirs) as agent:
        os.close(theirs)
        os.write(ours, words.encode())
        agent.wait_for("deploy.succeeded")
        os.close(ours)
        deadline = time.monotonic() + agent.patience_seconds
        while agent.agents() and time.monotonic() < deadline:  # the shell may have ended before
            time.sleep(0.02)
        assert kinds(agent) == ["start"]
        assert agent.find("agent.stopped") is not None
        assert "the terminal was closed" in agent.output(1000)


def test_a_hup_to_an_agent_whose_terminal_is_open_deploys(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with started(tmp_path, ["setsid", "--ctty"], stdin=theirs) as agent:
        agent.wait_for("deploy.succeeded")
        since = len(agent.events())
        assert agent.process is not None
        os.kill(agent.process.pid, signal.SIGHUP)
        assert agent.decision(since)["event"] == "deploy.succeeded"
        assert kinds(agent) == ["start", "signal"]
        os.close(theirs)
    os.close(ours)


def test_an_agent_under_nohup_ignores_hup_and_so_does_the_one_after_it(tmp_path: Path) -> None:
    with started(tmp_path, ["nohup"]) as agent:
        agent.wait_for("deploy.succeeded")
        assert agent.process is not None
        for count, upgraded in enumerate((False, True), start=1):
            if upgraded:
                agent.upgrade()
            os.kill(agent.process.pid, signal.SIGHUP)

            def said(wanted: int = count) -> dict[str, object] | None:
                return {} if agent.output(1000).count("HUP is ignored") == wanted else None

            agent.wait_until(said, "a line of the log")
        assert kinds(agent) == ["start"]
