"""Hooks, and the app as another user, by a real agent."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.accounts import USER, needs_root, python, uid
from tests.live.agent import APP, Agent, running
from tests.live.test_agent import start_another

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.agent import Event

pytestmark = pytest.mark.live

NOTE_DOWN = 'echo "$RAINBOWD_HOOK $RAINBOWD_GENERATION $(basename "$RAINBOWD_RELEASE") $RAINBOWD_REASON"'
ALL = {"before_launch": NOTE_DOWN, "after_live": NOTE_DOWN, "after_failure": NOTE_DOWN}
HANG = "echo $$ > ../../hook.pid; trap '' TERM; while :; do sleep 0.05; done"


def hooks_ended(agent: Agent, since: int, count: int) -> list[Event]:
    """Return the hooks that ended after ``since`` events, once there are as many as expected."""

    def found() -> list[Event]:
        return [event for event in agent.events()[since:] if event["event"] == "hook.ended"]

    agent.wait_until(lambda: {} if len(found()) >= count else None, f"{count} hooks")
    return found()


def deploy(agent: Agent, name: str) -> Event:
    since = len(agent.events())
    agent.flip(name)
    return agent.decision(since)


def test_hooks_run_around_a_deploy_and_after_a_failure(tmp_path: Path) -> None:
    with running(tmp_path, hooks=ALL) as agent:
        before, after = hooks_ended(agent, 0, 2)
        assert (before["output"], after["output"]) == (["before_launch 1 a "], ["after_live 1 a "])
        names = [event["event"] for event in agent.events()]
        assert names.index("hook.ended") < names.index("generation.launched")
        agent.add_release("bad", exit_status=3)
        since = len(agent.events())
        assert deploy(agent, "bad")["event"] == "deploy.failed"
        _, failure = hooks_ended(agent, since, 2)
        assert failure["output"] == ["after_failure 2 bad the app exited with status 3 before it was ready"]


def test_a_hook_that_fails_fails_the_deploy_and_what_is_live_stays(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        agent.configure(hooks={"before_launch": "echo no room; exit 5"})
        failed = deploy(agent, "b")
        assert (failed["event"], failed["output"]) == ("deploy.failed", ["no room"])
        assert failed["reason"] == "the hook before_launch exited with status 5"
        assert agent.find("generation.launched", generation=failed["generation"]) is None
        assert agent.status()["live"] == 1


def test_a_hook_that_hangs_fails_the_deploy_at_its_limit_and_is_gone(tmp_path: Path) -> None:
    with running(tmp_path, drain={"kill_after": 0.5}) as agent:
        agent.configure(hooks={"before_launch": HANG, "timeout": 1}, drain={"kill_after": 0.5})
        failed = deploy(agent, "b")
        assert failed["reason"] == "the hook before_launch did not end within 1 s"
        assert set(agent.processes()) == {agent.status()["generations"][0]["pid"]}
        agent.wait_until(lambda: None if agent.zombies() else {}, "no zombies")  # a last sleep


@pytest.mark.parametrize("hook", ["before_launch", "after_live"])
def test_a_stop_during_a_hook_leaves_nothing(tmp_path: Path, hook: str) -> None:
    with running(tmp_path, drain={"kill_after": 0.5}) as agent:
        agent.configure(hooks={hook: HANG}, drain={"kill_after": 0.5})
        since = len(agent.events())
        agent.flip("b")
        pid = tmp_path / "hook.pid"
        agent.wait_until(lambda: {} if pid.exists() and pid.read_text() else None, "the hook")
        assert agent.stop() == 0
        assert agent.processes() == []
        ended = agent.find("hook.ended", since)
        assert ended is not None
        assert (ended["hook"], ended["exit_status"]) == (hook, -9)


def test_a_link_turned_elsewhere_ends_a_hook_that_runs_before_the_launch(tmp_path: Path) -> None:
    with running(tmp_path, drain={"kill_after": 0.5}) as agent:
        agent.add_release("c")
        hook = f'case "$RAINBOWD_RELEASE" in */b) {HANG};; esac'
        agent.configure(hooks={"before_launch": hook}, drain={"kill_after": 0.5})
        since = len(agent.events())
        agent.flip("b")
        pid = tmp_path / "hook.pid"
        agent.wait_until(lambda: {} if pid.exists() and pid.read_text() else None, "the hook")
        agent.flip("c")
        failed = agent.wait_for("deploy.failed", since)
        assert failed["reason"].startswith("superseded by ")
        assert agent.wait_for("deploy.succeeded", since)["release"].endswith("/c")
        first, second = hooks_ended(agent, since, 2)
        assert (first["exit_status"], second["exit_status"]) == (-9, 0)


def test_an_env_file_is_read_at_each_deploy_and_a_broken_one_fails_it_by_its_line(tmp_path: Path) -> None:
    env_file = tmp_path / "app.env"
    env_file.write_text("SECRET=one\n")
    env_file.chmod(0o600)
    hooks = {"before_launch": "echo $SECRET"}
    with running(tmp_path, env_file="app.env", hooks=hooks) as agent:
        env_file.write_text("SECRET='two'\n")
        since = len(agent.events())
        assert deploy(agent, "b")["event"] == "deploy.succeeded"
        assert hooks_ended(agent, since, 1)[0]["output"] == ["two"]
        pid = next(one["pid"] for one in agent.status()["generations"] if one["state"] == "live")
        assert b"SECRET=two" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        env_file.write_text("SECRET=hush\n\nhush\n")
        failed = deploy(agent, "a")
        assert failed["event"] == "deploy.failed"
        assert f"{env_file}: line 3: found something else; expected KEY=VALUE" in failed["reason"]
        assert "hush" not in (agent.state_dir / "journal.jsonl").read_text() + agent.output(1000)
        assert agent.status()["live"] == 2


# --- as another user ----------------------------------------------------------------------------------------------


@pytest.fixture
def keys(open_path: Path) -> dict[str, object]:
    """Return keys of a config with which the other user can run the app."""
    shutil.copy(APP, open_path / "app.py")
    (open_path / "app.py").chmod(0o644)
    return {"run": [python(), str(open_path / "app.py"), "{port}"], "user": USER}


@pytest.fixture
def agent(open_path: Path, keys: dict[str, object]) -> Iterator[Agent]:
    hooks = {"before_launch": "id -u; echo $HOME > /dev/stdout", "after_live": "id -g"}
    with running(open_path, **keys, hooks=hooks, drain={"kill_after": 1}) as agent:
        yield agent


@needs_root
def test_the_app_and_its_hooks_are_another_users_and_the_state_is_ours(agent: Agent) -> None:
    generation = agent.status()["generations"][0]
    status = Path(f"/proc/{generation['pid']}/status").read_text().splitlines()
    ids = {line.split()[0]: set(line.split()[1:]) for line in status}
    assert ids["Uid:"] == {str(uid())}
    assert "0" not in ids["Gid:"] | ids["Groups:"]
    before, after = hooks_ended(agent, 0, 2)
    assert before["output"][0] == str(uid())
    assert after["output"] != ["0"]
    modes = {}
    for entry in agent.state_dir.iterdir():
        with contextlib.suppress(FileNotFoundError):  # replaced between the listing and the reading
            modes[entry.name] = (entry.lstat().st_uid, stat.S_IMODE(entry.lstat().st_mode))
    own = {
        "generation-1": (uid(), 0o700),
        "generation-1.out": (uid(), 0o640),
        "lock": (0, 0o600),
        "generation-1.plan": (0, 0o600),  # the environment is in it
    }
    assert {name: mode for name, mode in modes.items() if name in own} == own
    assert {mode for name, mode in modes.items() if name not in own} == {(0, 0o640)}
    assert stat.S_IMODE(agent.state_dir.stat().st_mode) == 0o2751


@needs_root
def test_another_users_app_has_the_variables_of_its_account(agent: Agent) -> None:
    pid = agent.status()["generations"][0]["pid"]
    variables = dict(pair.split(b"=", 1) for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if pair)
    assert (variables[b"USER"], variables[b"LOGNAME"]) == (USER.encode(), USER.encode())
    assert variables[b"HOME"] != os.environb.get(b"HOME")


@needs_root
def test_another_users_app_is_deployed_and_stopped_like_any_other(agent: Agent) -> None:
    assert deploy(agent, "b")["event"] == "deploy.succeeded"
    retired = agent.wait_for("generation.retired", generation=1)
    assert (retired["exit_status"], retired["killed"], retired["left"]) == (0, False, [])
    agent.add_release("deaf", ignore_term=True)
    assert deploy(agent, "deaf")["event"] == "deploy.succeeded"
    agent.wait_until(lambda: None if agent.zombies() else {}, "no zombies")  # a hook may have ended just now
    assert agent.stop() == 0
    assert agent.processes() == []
    assert not any(entry.name.startswith("generation-") for entry in agent.state_dir.iterdir())


@needs_root
def test_another_users_app_is_reached_over_a_unix_socket(open_path: Path, keys: dict[str, object]) -> None:
    with running(open_path, **{**keys, "run": [python(), str(open_path / "app.py"), "{socket}"]}) as agent:
        connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()


@needs_root
def test_an_app_may_write_to_its_output_by_its_name(open_path: Path, keys: dict[str, object]) -> None:
    run = f"echo by its name > /dev/stdout; exec {python()} {open_path / 'app.py'} $PORT"
    with running(open_path, **{**keys, "run": run}) as agent:
        agent.wait_until(lambda: {"said": True} if "[1] by its name" in agent.output(1000) else None, "the app's line")


@needs_root
def test_a_release_that_the_user_may_not_enter_fails_the_deploy_with_those_words(agent: Agent) -> None:
    agent.add_release("shut").chmod(0o700)
    assert deploy(agent, "shut")["reason"] == f"release: user may not enter {agent.directory}/releases/shut"


@needs_root
@pytest.mark.parametrize("of_hook", [True, False], ids=["hook", "env file"])
def test_an_agent_of_roots_does_not_start_with_what_others_may_write(open_path: Path, of_hook: bool) -> None:
    agent = Agent(open_path, env_file="app.env", hooks={"after_live": ["./hook"]})
    release = agent.add_release("a")
    agent.flip("a")
    for file in (release / "hook", open_path / "app.env"):
        file.touch(0o755)
    (release / "hook" if of_hook else open_path / "app.env").chmod(0o757)
    outcome = start_another(agent)
    assert outcome.returncode == 2
    assert "may be written by everybody; expected one that only root may write" in outcome.stderr
    assert ("hooks.after_live: " in outcome.stderr) is of_hook
    assert agent.events() == []


def test_an_unknown_user_is_refused_by_name(tmp_path: Path) -> None:
    outcome = start_another(Agent(tmp_path, user="no-such-user"))
    assert outcome.returncode == 2
    assert 'user: found "no-such-user"; expected a user of this machine, by name or number' in outcome.stderr
