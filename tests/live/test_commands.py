"""``rainbowd deploy`` and ``rollback`` as a deployer runs them, on a real agent."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import PATIENCE_SECONDS, ROOT, Agent, Event, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with running(tmp_path, drain={"kill_after": 2}) as agent:
        yield agent


def start(agent: Agent, *words: str, stdout: int = subprocess.PIPE, redirected: str = "") -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        ["sh", "-c", f'exec "$0" "$@" {redirected}', sys.executable, "-m", "rainbowd", *words],
        cwd=agent.directory,
        env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "", "TERM": "xterm-256color"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(command: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = command.communicate(timeout=PATIENCE_SECONDS)
    return command.returncode, out, err


def run(agent: Agent, *words: str) -> tuple[int, str, str]:
    return end(start(agent, *words))


def named(agent: Agent) -> str:
    return str(agent.link.readlink())


def untouched(agent: Agent) -> bool:
    return named(agent) == "releases/a" and not agent.trigger_file.exists()


def test_a_release_is_deployed_by_its_name_and_shown_step_by_step(agent: Agent) -> None:
    agent.add_release("said", output=["a word of the app"])
    status, out, err = run(agent, "deploy", "said", "--note", "the\nnote")
    assert (status, err, named(agent)) == (0, "", "releases/said")
    steps = ["requested by", r"the\nnote", "launched said", "[2] a word of the app", "healthy", "live", "said is live"]
    places = [out.find(step) for step in steps]
    assert -1 not in places, out
    assert places == sorted(places), out
    requested = [event for event in agent.events() if event["event"] == "deploy.requested"]
    assert [(event["trigger"], event["note"]) for event in requested] == [("start", None), ("file", r"the\nnote")]


def test_a_bad_release_fails_with_its_last_words_and_the_link_goes_back(agent: Agent) -> None:
    agent.add_release("bad", output=["about to go wrong"], exit_status=3)
    status, _, err = run(agent, "deploy", "releases/bad")
    assert (status, named(agent)) == (1, "releases/a")
    assert "exited with status 3" in err
    assert "about to go wrong" in err
    assert "the link points to releases/a again" in err
    assert agent.wait_for("link.restored")["release"] == str(agent.directory / "releases" / "a")


def test_the_link_is_restored_even_if_the_output_is_closed(agent: Agent) -> None:
    agent.add_release("bad", exit_status=3)
    for redirected in (">/dev/full 2>&1", "<&- >&- 2>&-"):
        assert end(start(agent, "deploy", "bad", redirected=redirected)) == (1, "", "")
        assert named(agent) == "releases/a"
    assert end(start(agent, "deploy", "b", redirected=redirected)) == (0, "", "")


def test_a_link_that_somebody_changed_meanwhile_is_left(agent: Agent) -> None:
    agent.add_release("slow", up_status=500)
    command = start(agent, "deploy", "slow")
    agent.wait_for("generation.launched", generation=2)
    agent.flip("b")
    status, _, err = end(command)
    assert (status, named(agent)) == (1, "releases/b")
    assert "superseded by" in err


def test_a_rollback_and_another_one_are_there_and_back(agent: Agent) -> None:
    assert run(agent, "rollback")[0] == 1
    assert run(agent, "deploy", "b")[0] == 0
    for expected in ("releases/a", "releases/b"):
        status, out, err = run(agent, "rollback")
        assert (status, named(agent)) == (0, expected), out + err
        assert f"rolled back to {expected.removeprefix('releases/')}: generation " in out


def test_a_rollback_ends_a_deploy_that_is_under_way(agent: Agent) -> None:
    agent.add_release("slow", up_status=500)
    command = start(agent, "deploy", "slow")
    agent.wait_for("generation.launched", generation=2)
    status, out, _ = run(agent, "rollback")
    assert (status, named(agent)) == (0, "releases/a")
    assert "nothing was launched" in out
    status, _, err = end(command)
    assert status == 1
    assert "superseded by" in err


def test_a_stop_of_the_agent_is_a_failure_and_the_link_goes_back(agent: Agent) -> None:
    agent.add_release("slow", up_status=500)
    command = start(agent, "deploy", "slow")
    agent.wait_for("generation.launched", generation=2)
    assert agent.stop() == 0
    status, _, err = end(command)
    assert (status, named(agent)) == (1, "releases/a")
    assert "interrupted: the agent stops" in err


def test_the_death_of_the_agent_is_a_failure(agent: Agent) -> None:
    agent.add_release("slow", up_status=500)
    command = start(agent, "deploy", "slow")
    agent.wait_for("generation.launched", generation=2)
    agent.kill()
    status, _, err = end(command)
    assert (status, named(agent)) == (1, "releases/a")
    assert "the agent exited before the deploy finished" in err


def unseen(agent: Agent, *commands: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """Run commands that each replace the request before the agent reads it, and return how they end."""
    assert agent.process is not None
    agent.process.send_signal(signal.SIGSTOP)
    started, seen = [], None
    for words in commands:
        started.append(start(agent, *words))
        seen = agent.wait_until(lambda: _other_request(agent, seen), "the request")  # noqa: B023 - used at once
        release = words[1] if len(words) > 1 else None
        agent.wait_until(lambda: {} if named(agent).endswith(release or "") else None, "the turn")  # noqa: B023
    agent.process.send_signal(signal.SIGCONT)
    return [end(command) for command in started]


def _other_request(agent: Agent, seen: Event | None) -> Event | None:
    try:
        request: Event = json.loads(agent.trigger_file.read_text())
    except FileNotFoundError:
        return None
    return None if request == seen else request


def test_a_request_that_another_replaced_before_it_was_seen_is_decided_with_it(agent: Agent) -> None:
    ends = unseen(agent, ("deploy", "b"), ("deploy",))
    assert [status for status, _, _ in ends] == [0, 0], ends
    deploys = {event["deploy"] for event in agent.events() if event["event"] == "deploy.requested"}
    assert len(deploys) == 2, "that of the start, and one for both"


def test_of_two_commands_with_different_releases_one_reports_that_it_was_superseded(agent: Agent) -> None:
    agent.add_release("c")
    ends = unseen(agent, ("deploy", "b"), ("deploy", "c"))
    assert [status for status, _, _ in ends] == [1, 0], ends
    assert f"superseded by {agent.directory}/releases/c, which is live" in ends[0][2]
    assert named(agent) == "releases/c"


def test_a_request_that_is_taken_away_before_it_is_seen_is_made_again(agent: Agent) -> None:
    assert agent.process is not None
    agent.process.send_signal(signal.SIGSTOP)  # sees nothing
    command = start(agent, "deploy")
    agent.wait_until(lambda: {} if agent.trigger_file.exists() else None, "the trigger file")
    agent.trigger_file.unlink()
    agent.process.send_signal(signal.SIGCONT)
    assert end(command)[0] == 0


def test_without_a_trigger_file_the_link_alone_asks(tmp_path: Path) -> None:
    with running(tmp_path, trigger_file=None) as agent:
        for words, release in ((["deploy", "b"], "b"), (["deploy"], "b"), (["rollback"], "a")):
            status, out, err = run(agent, *words)
            assert status == 0, err
            assert (f"{release} is live" in out, f"rolled back to {release}: " in out) == (
                words != ["rollback"],
                words == ["rollback"],
            )
        assert not agent.trigger_file.exists()


def test_an_upgrade_meanwhile_makes_no_difference(agent: Agent) -> None:
    assert agent.process is not None
    agent.add_release("slow", boot_seconds=1)
    command = start(agent, "deploy", "slow")
    agent.wait_for("generation.launched", generation=2)
    assert agent.upgrade()["event"] == "agent.upgraded"
    status, out, err = end(command)
    assert status == 0, err
    assert "slow is live: generation 2" in out
    assert run(agent, "rollback")[0] == 0
    assert named(agent) == "releases/a"


def test_the_same_release_is_deployed_once_more(agent: Agent) -> None:
    status, out, _ = run(agent, "deploy")
    assert (status, named(agent)) == (0, "releases/a")
    assert "a is live: generation 2" in out
    status, out, _ = run(agent, "deploy", "--no-wait")
    assert status == 0
    assert "requested a deploy of" in out
    agent.wait_for("deploy.succeeded", generation=3)


def test_a_terminal_shows_the_same_in_colours_and_is_left_as_it_was(agent: Agent) -> None:
    ours, theirs = pty.openpty()
    with start(agent, "deploy", "b", stdout=theirs) as command:
        os.close(theirs)
        text = ""
        with contextlib.suppress(OSError):  # EIO: nobody writes now
            while True:
                text += os.read(ours, 65536).decode()
        os.close(ours)
        assert command.wait() == 0
    for shown in ("launched b as generation 2", "healthy", "\x1b[32mb is live: generation 2", "\x1b[?25l"):
        assert shown in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"


def test_nothing_is_touched_if_the_deploy_is_impossible(agent: Agent) -> None:
    for release in ("none", "releases/none", "rainbowd.json", "", "a/../../none"):
        status, out, err = run(agent, "deploy", release)
        assert (status, out) == (2, ""), release
        assert "release" in err
    every = ["deploy"], ["deploy", "b"], ["rollback"]
    config = agent.directory / "rainbowd.json"
    good = config.read_text()
    config.write_text('{"run": ')
    for words in every:
        status, _, err = run(agent, *words)
        assert (status, "rainbowd.json" in err) == (1, True), err
    config.write_text(good)
    assert agent.stop() == 0
    for words in every:
        status, _, err = run(agent, *words)
        assert (status, "no agent is running" in err) == (3, True), err
    assert untouched(agent)


def test_a_command_that_stops_waiting_leaves_the_deploy_running(agent: Agent) -> None:
    agent.add_release("slow", awaits="../../go")
    status, _, err = run(agent, "deploy", "slow", "--timeout", "0.1")
    assert (status, named(agent)) == (4, "releases/slow")
    assert "continues" in err
    (agent.directory / "go").touch()
    agent.wait_for("deploy.succeeded", generation=2)
    (agent.directory / "go").unlink()
    command = start(agent, "deploy")  # and journals may be rotated meanwhile
    agent.wait_for("generation.launched", generation=3)
    journal = agent.state_dir / "journal.jsonl"
    journal.rename(journal.with_name("journal.jsonl.1"))
    impatient = start(agent, "deploy")
    agent.wait_for("deploy.requested")
    impatient.send_signal(signal.SIGINT)
    status, _, err = end(impatient)
    assert (status, "continues" in err) == (130, True), err
    (agent.directory / "go").touch()
    status, out, _ = end(command)
    assert status == 0
    assert "slow is live: generation 3" in out
    agent.wait_for("deploy.succeeded", generation=4)


def test_a_directory_in_the_place_of_the_link_is_named_before_any_release(agent: Agent) -> None:
    agent.link.unlink()
    agent.link.mkdir()
    status, _, err = run(agent, "deploy", "b")
    assert status == 2
    assert f"release: {agent.link}: found a directory; expected a symlink" in err
    assert not agent.trigger_file.exists()
