"""``rainbowd wait`` for deploys that other programs ask for, and what a deploy shows while it waits."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import Agent, running
from tests.live.test_commands import end, run, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with running(tmp_path, drain={"kill_after": 2}) as agent:
        yield agent


def test_a_turn_of_the_link_or_a_touch_is_waited_for_even_before_the_agent_has_seen_it(agent: Agent) -> None:
    agent.flip("b")
    status, out, err = run(agent, "wait")
    assert (status, "b is live: generation 2" in out) == (0, True), out + err
    agent.touch()
    status, out, err = run(agent, "wait")
    assert (status, "b is live: generation 3" in out) == (0, True), out + err
    assert run(agent, "wait")[0] == 0, "nothing is in progress"


def test_a_deploy_that_fails_is_a_failure_for_who_waits(agent: Agent) -> None:
    agent.add_release("bad", output=["about to go wrong"], exit_status=3)
    agent.flip("bad")
    for words in (["--live", "bad"], ["--live", "bad"], []):
        status, _, err = run(agent, "wait", *words)
        assert (status, "exited with status 3" in err, "about to go wrong" in err) == (1, True, True), err


def test_a_deploy_is_waited_for_by_its_id_or_the_id_of_its_request(agent: Agent) -> None:
    request = agent.directory / "request"
    request.write_text(json.dumps({"request": "of another program"}))
    request.rename(agent.trigger_file)  # whole: what is read in the middle of a write is a request without an id
    deploy = agent.wait_for("deploy.requested", request="of another program")["deploy"]
    for name in (deploy, "of another program"):
        status, out, err = run(agent, "wait", "--deploy", name)
        assert (status, "a is live: generation 2" in out) == (0, True), out + err
    status, _, err = run(agent, "wait", "--deploy", "nobody's")
    assert (status, "no such deploy: nobody's" in err) == (2, True)


def test_the_wait_for_a_release_that_nobody_deploys_ends_after_the_timeout(agent: Agent) -> None:
    assert run(agent, "wait", "--live", "a")[0] == 0
    status, _, err = run(agent, "wait", "--live", "b", "--timeout", "0.3")
    assert (status, "no outcome within 0.3 seconds" in err) == (4, True)
    waiting = start(agent, "wait", "--live", "b")
    agent.flip("b")
    assert end(waiting)[0] == 0


def test_without_an_agent_there_is_nothing_to_wait_for(agent: Agent) -> None:
    assert agent.stop() == 0
    assert run(agent, "wait")[0] == 3


def test_a_hook_is_shown_while_it_runs_and_its_output_is_its_own(tmp_path: Path) -> None:
    hook = "case $PWD in *bad) echo no such module; exit 4;; *b) echo begins; read line <../../more; echo $line;; esac"
    with running(tmp_path, hooks={"before_launch": hook}) as agent:
        os.mkfifo(agent.directory / "more")
        command = start(agent, "deploy", "b")
        assert command.stdout is not None
        shown = ""
        while "[before_launch] begins" not in shown:
            shown = command.stdout.readline()
            assert shown
        status, out, _ = run(agent, "status")
        assert (status, "deploying b: before_launch, " in out) == (0, True), out
        status, _, err = run(agent, "wait", "--timeout", "0.25")
        assert (status, "no outcome within 0.25 seconds; the deploy continues" in err) == (4, True), err
        (agent.directory / "more").write_text("ends\n")
        status, out, err = end(command)
        assert (status, "[before_launch] ends" in out) == (0, True), out + err
        agent.add_release("bad")
        status, out, err = run(agent, "deploy", "bad")
        assert status == 1
        assert "the hook's last lines:\n    no such module\n" in err


def test_a_hook_that_would_wait_for_its_own_deploy_is_refused(tmp_path: Path) -> None:
    wait = f"case $PWD in *b) {sys.executable} -m rainbowd $ASK --config ../../rainbowd.json; esac"
    for words in ("deploy", "wait", "rollback"):
        directory = tmp_path / words
        directory.mkdir()
        with running(directory, hooks={"before_launch": f"ASK={words}; {wait}"}) as agent:
            status, out, err = run(agent, "deploy", "b")
            assert (status, "in the hook before_launch of deploy" in out + err) == (1, True), out + err
            assert agent.link.readlink().name == "a"
