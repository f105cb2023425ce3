"""What another account, a hostile app or a shared daemon may do with processes: tried against real agents."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, needs_root
from tests.cgroups import delegated_cgroup, groups_in, inside
from tests.live.agent import LOOK_SECONDS, PATIENCE_SECONDS, needs, pids
from tests.security.site import eventually, every_agent, is_there, site

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

ESCAPES: list[dict[str, str] | None] = [
    None,
    {"RAINBOWD_STATE_DIR": "/nowhere"},
    {"RAINBOWD_GENERATION": "999"},
    {"RAINBOWD_MARK": "f" * 32},
    {"RAINBOWD_MARK": "", "RAINBOWD_GENERATION": "1"},
    {"RAINBOWD_HOOK": "after_live"},
]


LATE = """
import socket, sys, time
with socket.socket() as probe:
    while probe.connect_ex(("127.0.0.1", int(sys.argv[1]))) != 0:
        time.sleep(0.02)
"""
"""An app that another program beats to its port, and that then ends."""


def escaped(directory: Path) -> set[int]:
    """The processes that have escaped from a site."""
    found = set()
    for pid in pids():
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if command.startswith(b"escaped\0") and os.fsencode(directory) in command and is_there(pid):
                found.add(pid)
    return found


def on_record(record: Path) -> set[int]:
    """The processes that a generation's record knows."""
    return {pid for pid, _ in json.loads(record.read_text())["known"]}


# --- a stranger in the place of the app -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::"])
def test_a_stranger_with_the_mark_at_the_apps_port_gets_no_traffic(open_path: Path, host: str) -> None:
    """A stranger who knows the mark listens where the app of a deploy is to listen."""
    with site(open_path) as one:
        late = [accounts.python(), "-c", LATE, "{port}"]
        one.agent.configure(run=late, user=USER, health={"path": "/up", "deadline": 60})
        since = len(one.agent.events())
        one.agent.flip("b")
        stolen = 0
        while one.agent.find("deploy.failed", since) is None:
            for event in one.agent.events()[since:]:
                if event["event"] == "generation.launched":
                    since = one.agent.events().index(event) + 1
                    port = event["address"].rpartition(":")[2]
                    stolen += one.steal(host, port, event["generation"]) == "listens"
            assert one.get() == "1"
            time.sleep(LOOK_SECONDS)
        assert stolen
        failed = one.agent.find("deploy.failed")
        assert failed is not None
        assert one.agent.status()["live"] == 1
        assert f"of user {STRANGER}" in failed["reason"] or "another program holds its port" in failed["reason"], (
            one.agent.output(200)
        )


def test_a_stranger_cannot_have_the_apps_unix_socket(open_path: Path) -> None:
    """A stranger binds in the directory of the app's Unix socket."""
    run = [accounts.python(), str(open_path / "app.py"), "{socket}"]
    with site(open_path, run=run) as one:
        address = one.agent.status()["generations"][0]["address"].removeprefix("unix:")
        assert "Permission denied" in one.steal("unix", address, 1)
        assert "Permission denied" in one.steal("unix", f"{address}2", 1)
        assert one.get() == "1"
        assert one.deploy("b")["event"] == "deploy.succeeded"
        assert one.get() == "2"


def test_a_stranger_that_takes_the_port_later_is_seen_by_liveness(open_path: Path) -> None:
    """The live app closes its port, and a stranger listens there."""
    health = {"path": "/up", "deadline": 60, "liveness": {"interval": 1, "failures": 3}}
    with site(open_path, health=health) as one:
        port = one.agent.status()["generations"][0]["address"].rpartition(":")[2]
        thief = one.thief("127.0.0.1", port, "wait", generation=1)
        assert thief.readline() == "waits\n"
        since = len(one.agent.events())
        one.get("/close")
        assert thief.readline() == "listens\n", "before the agent has judged the closed port"
        assert one.agent.wait_for("deploy.succeeded", since)["generation"] > 1
        assert one.get() != "STOLEN"
        assert f"of user {STRANGER}, started outside of this generation" in one.agent.output(60)


# --- who is signalled -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [STRANGER, USER])
@every_agent
def test_a_process_with_the_mark_has_nothing_of_others_ended(open_path: Path, user: str, agent: str) -> None:
    """A child of root's script has the mark of a generation that is retired."""
    with site(open_path) as one:
        marked = " ".join(f"{name}={value}" for name, value in one.mark(1).items())
        script = f"setpriv --reuid {user} --clear-groups env {marked} sleep 1000 & echo $!; wait"
        root = subprocess.Popen(
            [needs("sh"), "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True, cwd="/"
        )
        assert root.stdout is not None
        attacker = int(root.stdout.readline())
        try:
            one.become(agent)
            since = len(one.agent.events())
            assert one.deploy("b")["event"] == "deploy.succeeded"
            one.agent.wait_for("generation.retired", since, generation=1)
            assert root.poll() is None or user == USER, "root's shell goes on, or its child has ended"
            assert root.poll() is None or root.wait() >= 0, "root's shell was not signalled"
            assert is_there(attacker) == (user == STRANGER)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(root.pid, signal.SIGKILL)
            root.communicate()


def test_a_strangers_process_with_the_mark_is_no_stray(open_path: Path) -> None:
    """A stranger's process has the mark of a generation that does not exist, when the agent starts."""
    with site(open_path) as one:
        forged = {**one.mark(1), "RAINBOWD_GENERATION": "77"}
        stranger = one.attack("sleep", "1000", env=forged)
        app = one.attack("sleep", "1000", user=USER, env={**forged, "RAINBOWD_MARK": "0"})
        one.agent.kill()
        one.agent.start()
        one.agent.wait_for("generation.adopted")
        app.wait(PATIENCE_SECONDS)
        assert stranger.poll() is None
        assert one.get() == "1"


# --- what an app leaves behind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("after", ["deploy", "kill", "stop"])
def test_nothing_that_an_app_started_outlives_its_generation(open_path: Path, after: str, late: bool) -> None:
    """The app forks twice, leaves its session, ignores TERM and changes or clears its environment."""
    with site(open_path) as one:
        file = open_path / "releases" / "b" / "escapes.json"
        file.write_text("[]" if late else json.dumps(ESCAPES))
        assert one.deploy("b")["event"] == "deploy.succeeded"
        since = len(one.agent.events())
        one.agent.wait_for("generation.retired", generation=1)
        if late:
            file.write_text(json.dumps(ESCAPES))
            one.get("/escape")
        eventually(lambda: len(escaped(open_path)) == len(ESCAPES), "the escapes")
        mine = escaped(open_path)
        if after == "kill":
            record = one.agent.state_dir / "generation-2.json"
            eventually(lambda: mine <= on_record(record), "the escapes to be on record")
            one.agent.restart()
            one.agent.wait_for("generation.adopted", since)
        if after == "stop":
            assert one.agent.stop() == 0
        else:
            assert one.deploy("a")["event"] == "deploy.succeeded"
            assert one.agent.wait_for("generation.retired", since, generation=2)["left"] == []
        assert escaped(open_path) == set()


def test_an_escape_from_an_adopted_generation_ends_with_it_if_systemd_delegates_a_control_group(
    open_path: Path,
) -> None:
    """An adopted app leaves a process behind that only its control group leads to."""
    with delegated_cgroup(open_path) as cgroup, site(open_path, cgroup) as one:
        (open_path / "releases" / "a" / "escapes.json").write_text(json.dumps([None]))
        with inside(cgroup):
            one.agent.restart()
        one.agent.wait_for("generation.adopted")
        one.get("/escape")
        eventually(lambda: escaped(open_path), "the escape")
        since = len(one.agent.events())
        assert one.deploy("b")["event"] == "deploy.succeeded"
        assert one.agent.wait_for("generation.retired", since, generation=1)["left"] == []
        assert escaped(open_path) == set()
        assert [name.rpartition("-")[0] for name in groups_in(cgroup)] == ["generation-2"]
        assert one.agent.stop() == 0
        assert groups_in(cgroup) == []


# --- sudo -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", [[], ["sh", "-c", '"$@"; true', "sh"]], ids=["direct", "wrapped"])
def test_an_app_that_became_another_account_is_never_live_and_is_said(open_path: Path, wrapper: list[str]) -> None:
    """The command of the app becomes a third account by a set-uid program."""
    setpriv = str(shutil.copy(needs("setpriv"), open_path / "sudo"))
    Path(setpriv).chmod(0o4755)
    with site(open_path) as one:
        run = [setpriv, "--reuid", STRANGER, "--clear-groups", accounts.python(), str(open_path / "app.py"), "{port}"]
        one.agent.configure(run=[*wrapper, *run], user=USER, health={"path": "/up"}, drain={"kill_after": 1})
        failed = one.deploy("b")
        assert failed["event"] == "deploy.failed"
        assert f"of user {STRANGER}" in failed["reason"]
        assert failed["generation"] == 2, "another port would not help"
        assert 'set "user" instead' in failed["reason"]
        assert one.agent.status()["live"] == 1


# --- companion processes ----------------------------------------------------------------------------------------------


def test_companion_processes_run_as_the_apps_account_and_outlive_the_agent(open_path: Path) -> None:
    """Their directories in the state directory belong to that account, and the next agent starts all the same."""
    processes = {"mail_Worker-2": {"run": ["sleep", "1000"], "instances": 2}}
    with site(open_path, processes=processes) as one:

        def running() -> dict[int, int]:
            return {pid: Path(f"/proc/{pid}").stat().st_uid for pid in one.agent.processes() if is_sleep(pid)}

        eventually(lambda: len(running()) == 2, "the companion processes")
        before = running()
        assert os.geteuid() not in before.values()
        since = one.agent.restart()
        one.agent.wait_for("generation.adopted", since)
        assert one.agent.upgrade()["event"] == "agent.upgraded"
        assert running() == before
        assert one.agent.stop() == 0
        assert running() == {}


def is_sleep(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    except OSError:
        return False
