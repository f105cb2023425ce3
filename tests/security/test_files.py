"""What other users of the machine may do to the files of an agent that runs as root, tried on the real program."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.accounts import STRANGER, USER, account, needs_root
from tests.deploy.host.test_tree_removal import emptied, nested
from tests.live.agent import command, running

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_root
ROOT = Path(__file__).parents[2]
FORGED_PLAN = {"format": 1, "config": {"run": "touch ROOTED", "warmup": 0.1}, "env_file": {}}


@pytest.fixture
def site(open_path: Path) -> Path:
    """A site as root has it, with nothing that others may change but what a test gives them."""
    (open_path / "v1").mkdir()
    (open_path / "shared").mkdir()
    (open_path / "current").symlink_to("v1")
    return open_path


def rainbowd(site: Path, *words: str, **config: object) -> tuple[int, str]:
    """The exit status and the messages of a command."""
    usual: dict[str, object] = {
        "run": ["sleep", "60"],
        "warmup": 0,
        "release": "current",
        "user": USER,
        "listen": "127.0.0.1:0",
        "state_dir": "shared/state",
    }
    file = site / "rainbowd.json"
    file.write_text(json.dumps(usual | config))
    command_line = command(*words, "--config", str(file))
    ended = subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stderr


def give(path: Path, mode: int | None = None, *, group: bool = False) -> None:
    """Let the stranger, or only the group of the stranger, have ``path``."""
    os.chown(path, -1 if group else account(STRANGER).uid, account(STRANGER).gid)
    if mode is not None:
        path.chmod(mode)


def theirs(site: Path) -> None:
    (site / "shared" / "state").mkdir()
    give(site / "shared" / "state")


def open_to_all(site: Path) -> None:
    (site / "shared" / "state").mkdir()
    (site / "shared" / "state").chmod(0o777)


def open_to_their_group(site: Path) -> None:
    (site / "shared" / "state").mkdir()
    give(site / "shared" / "state", 0o2770, group=True)


def below_theirs(site: Path) -> None:
    give(site / "shared")


def not_made_yet_below_theirs(site: Path) -> None:
    give(site / "shared", 0o775, group=True)


def a_link_in_their_directory(site: Path) -> None:
    (site / "real").mkdir()
    (site / "shared" / "state").symlink_to(site / "real")
    give(site / "shared")


def a_link_of_theirs_that_leads_to_root(site: Path) -> None:
    (site / "real" / "state").mkdir(parents=True)
    (site / "stage").mkdir()
    (site / "stage" / "link").symlink_to(site / "real")
    give(site / "stage")
    shutil.rmtree(site / "shared")
    (site / "shared").symlink_to("stage/link")


def a_plan_of_theirs_in_roots_directory(site: Path) -> None:
    (site / "shared" / "state").mkdir()
    plan = site / "shared" / "state" / "generation-1.plan"
    plan.write_text(json.dumps(FORGED_PLAN))
    give(plan)


def a_record_that_their_group_may_write(site: Path) -> None:
    (site / "shared" / "state").mkdir()
    record = site / "shared" / "state" / "generation-1.json"
    record.write_text("{}")
    give(record, 0o660, group=True)


def a_link_in_place_of_a_plan(site: Path) -> None:
    (site / "shared" / "state").mkdir()
    (site / "shared" / "state" / "generation-1.plan").symlink_to("/tmp/plan")


def an_access_control_list(site: Path) -> None:
    (site / "shared" / "state").mkdir()
    if shutil.which("setfacl") is None:
        pytest.skip("setfacl is not installed")
    outcome = subprocess.run(["setfacl", "-m", f"u:{STRANGER}:rwx", site / "shared" / "state"], check=False)
    if outcome.returncode != 0:
        pytest.skip("this file system has no access control lists")


ATTACKS = [
    theirs,
    open_to_all,
    open_to_their_group,
    below_theirs,
    not_made_yet_below_theirs,
    a_link_in_their_directory,
    a_link_of_theirs_that_leads_to_root,
    a_plan_of_theirs_in_roots_directory,
    a_record_that_their_group_may_write,
    a_link_in_place_of_a_plan,
    an_access_control_list,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__.replace("_", " "))
def test_a_state_directory_that_others_may_change_is_refused(site: Path, attack: Callable[[Path], None]) -> None:
    """Root starts an agent whose state directory another account may write or replace."""
    attack(site)
    for words in ([], ["check"]):
        status, said = rainbowd(site, *words)
        assert status == 2, said
        assert "state_dir: " in said
        assert "`" in said, "the command that mends it"
    assert not list(site.rglob("ROOTED"))


@pytest.mark.parametrize("layout", ["shared/state", "deep/deeper/state"])
def test_a_state_directory_of_roots_is_good(site: Path, layout: str) -> None:
    """Root checks a config whose state directory is root's."""
    assert rainbowd(site, "check", state_dir=layout) == (0, "")


@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("log.app", {"log": {"app": "shared/app.log"}}),
        ("listen", {"listen": "unix:shared/app.sock"}),
        ("api.listen", {"api": {"enabled": True, "listen": "unix:shared/api.sock"}}),
        ("api.token_file", {"api": {"enabled": True, "token_file": "shared/token"}}),
    ],
)
def test_no_file_in_a_directory_of_others_is_written_or_believed(
    site: Path, key: str, config: dict[str, object]
) -> None:
    """A log, a socket or a token file lies in a directory of another account, with links to a file of root's."""
    secret = site / "secret"
    secret.write_text("of root's")
    secret.chmod(0o600)
    (site / "shared" / "token").write_text("0123456789abcdef0123456789abcdef\n")
    (site / "shared" / "token").chmod(0o600)
    (site / "shared" / "app.log").symlink_to(secret)
    give(site / "shared")
    for words in ([], ["check"]):
        status, said = rainbowd(site, *words, state_dir="state", **config)
        assert (status, f"{key}: {site}/shared" in said) == (2, True), said
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("of root's", 0o600)


def test_a_deploy_by_root_makes_no_program_of_a_file_that_others_fill(tmp_path: Path) -> None:
    """Another account makes its trigger file set-uid, and root runs ``rainbowd deploy`` and ``rollback``."""
    (tmp_path / "shared").mkdir()
    with running(tmp_path, trigger_file="shared/trigger") as agent:
        trigger = tmp_path / "shared" / "trigger"
        trigger.touch()
        give(tmp_path / "shared")
        give(trigger, 0o6777)
        for words in (["deploy", "b"], ["rollback"]):
            command_line = command(*words, "--config", str(agent.directory / "rainbowd.json"))
            subprocess.run(command_line, cwd=ROOT, check=True, capture_output=True)
            assert stat.S_IMODE(trigger.stat().st_mode) & 0o7111 == 0
            give(trigger, 0o6777)


@pytest.mark.usefixtures(emptied.__name__)
def test_an_app_that_nests_directories_stops_no_deploy_and_no_start(tmp_path: Path) -> None:
    """The app nests 3000 directories in its own directory; a deploy, a crash and a start follow."""
    with running(tmp_path) as agent:
        nested(agent.state_dir / "generation-1" / "deep", 3000)
        since = len(agent.events())
        agent.flip("b")
        assert agent.decision(since)["event"] == "deploy.succeeded"
        first = agent.state_dir / "generation-1"
        agent.wait_until(lambda: None if first.exists() else {}, "its removal")
        assert agent.process is not None
        nested(agent.state_dir / "generation-2" / "deep", 3000)
        agent.process.kill()
        agent.process.wait()
        nested(first, 3000)
        agent.start()
        agent.wait_for("generation.adopted", generation=2)
        agent.wait_until(lambda: None if first.exists() else {}, "its removal")
        assert agent.stop() == 0
        assert not (agent.state_dir / "generation-2").exists()
        assert "bug: " not in agent.output(1000)


def test_the_state_directory_may_be_removed_and_the_agent_is_found_again(tmp_path: Path) -> None:
    """The state directory of a running agent is removed."""
    with running(tmp_path) as agent:
        shutil.rmtree(agent.state_dir)
        assert agent.process is not None
        pid = str(agent.process.pid)
        lock = agent.state_dir / "lock"
        agent.wait_until(lambda: {} if lock.exists() and lock.read_text().strip() == pid else None, "the lock")
        agent.flip("b")
        assert agent.decision(0, trigger="symlink")["event"] == "deploy.succeeded"
        agent.process.kill()
        agent.process.wait()
        agent.start()
        agent.wait_for("generation.adopted", generation=2)
