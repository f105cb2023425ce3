from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.config import Account
from rainbowd.deploy.process import spawner
from rainbowd.deploy.process.procfs import ProcessInfo, read_entry
from rainbowd.errors import DeployFailed
from tests.accounts import account, needs_root
from tests.signal_sets import signal_set

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deploy.process.conftest import Launcher

SHELL_GATE: dict[str, str] = {}
PYTHON_GATE = {"spring.profiles.active": "prod", "a-b": "c=d"}

both_gates = pytest.mark.parametrize("env", [SHELL_GATE, PYTHON_GATE], ids=["shell", "python"])
pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")

READY = ("sh", "-c", "echo ready; exec sleep 60")


@both_gates
async def test_the_app_runs_once_the_gate_is_open_and_not_before(launch: Launcher, env: dict[str, str]) -> None:
    process = launch("touch", "ran", env=env, is_open=False)
    assert process.is_alive
    process.open_gate()
    assert await process.wait() == 0
    assert (launch.release / "ran").exists()


@both_gates
async def test_if_the_gate_is_closed_the_app_never_runs(launch: Launcher, env: dict[str, str]) -> None:
    process = launch("touch", "ran", env=env, is_open=False)
    process.close_gate()
    assert await process.wait() == 1
    assert not (launch.release / "ran").exists()


@both_gates
def test_if_the_agent_is_killed_before_it_opens_the_gate_the_app_never_runs(
    tmp_path: Path, env: dict[str, str]
) -> None:
    agent = f"""
import os, signal
from pathlib import Path
from rainbowd.address import TcpAddress
from rainbowd.deploy.process import spawn
marker = dict(RAINBOWD_STATE_DIR="/state", RAINBOWD_GENERATION="1", PIDFILE="/state/pid", PATH=os.environ["PATH"])
address = TcpAddress("127.0.0.1", 20000)
process = spawn(
    ["touch", "ran"], cwd=Path({str(tmp_path)!r}), env=marker | {env!r}, address=address, output_fd=2, nofile_limit=99
)
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    told = subprocess.run([sys.executable, "-c", agent], stdout=subprocess.PIPE, check=False)
    assert told.returncode == -signal.SIGKILL
    _, status = os.waitpid(int(told.stdout), 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert not (tmp_path / "ran").exists()


@both_gates
async def test_every_launch_has_a_mark_of_its_own_that_nobody_can_choose(launch: Launcher, env: dict[str, str]) -> None:
    first, second = (launch("printenv", "RAINBOWD_MARK", env={**env, "RAINBOWD_MARK": "mine"}) for _ in range(2))
    marks = {await launch.line() for _ in range(2)}
    assert marks == {first.marks.secret, second.marks.secret}
    assert len(marks) == 2
    assert all(len(mark) == 32 for mark in marks)
    assert [await first.wait(), await second.wait()] == [0, 0]


async def test_a_process_that_ends_before_the_gate_opens_wakes_its_waiter(launch: Launcher) -> None:
    process = launch("touch", "ran", is_open=False)
    process.signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    process.open_gate()
    assert not process.is_alive


def read_link(path: str) -> Path:
    return Path(path).readlink()


def descriptors(pid: int) -> dict[str, str]:
    """What the descriptors of a process are of."""
    return {entry.name: str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}


@pytest.fixture
def inheritable() -> Iterator[None]:
    """A descriptor of ours that no child should have."""
    with Path("/dev/zero").open("rb") as file:
        os.set_inheritable(file.fileno(), True)
        yield


@both_gates
@pytest.mark.usefixtures("inheritable")
async def test_the_app_has_three_descriptors_and_nothing_to_read(launch: Launcher, env: dict[str, str]) -> None:
    process = launch("sh", "-c", "echo ready; kill -STOP $$", env=env)
    await launch.line()
    targets = descriptors(process.pid)
    assert set(targets) == {"0", "1", "2"}
    assert targets["0"] == "/dev/null"
    assert targets["1"] == targets["2"]
    process.signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL


@both_gates
async def test_the_app_ignores_no_signal_and_blocks_none(launch: Launcher, env: dict[str, str]) -> None:
    process = launch("grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status", env=env)
    assert [signal_set((await launch.line()).split()[1]) for _ in range(2)] == [0, 0]
    assert await process.wait() == 0


@both_gates
async def test_the_app_has_the_limits_of_before_ours_were_raised(launch: Launcher, env: dict[str, str]) -> None:
    ours = resource.getrlimit(resource.RLIMIT_NOFILE)
    process = launch("sh", "-c", "ulimit -Sn; ulimit -Hn", nofile_limit=77, env=env)
    assert [await launch.line(), await launch.line()] == ["77", str(ours[1])]
    assert await process.wait() == 0
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == ours


@both_gates
async def test_the_app_has_a_session_of_its_own_in_its_release(launch: Launcher, env: dict[str, str]) -> None:
    process = launch(*READY, env=env)
    await launch.line()
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.identity.pgid == process.pid
    assert read_link(f"/proc/{process.pid}/cwd") == launch.release
    process.signal(signal.SIGTERM)
    await process.wait()


@both_gates
async def test_the_app_has_the_environment_that_it_is_given(
    launch: Launcher, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "JOURNAL_STREAM", "PYTHONSTARTUP":
        monkeypatch.setenv(name, "x")
    process = launch("env", "-0", env={**env, "TEXT": "two\nlines"})
    assert await process.wait() == 0
    variables = dict(pair.split("=", 1) for pair in launch.rest().split("\0") if pair)
    for added_by_a_shell in "PWD", "OLDPWD", "SHLVL", "_":
        variables.pop(added_by_a_shell, None)
    assert variables.pop("RAINBOWD_MARK") == process.marks.secret
    assert variables == {
        "PATH": os.environ["PATH"],
        "PORT": "20000",
        "PIDFILE": str(launch.pidfile),
        "RAINBOWD_GENERATION": "1",
        "RAINBOWD_RELEASE": str(launch.release),
        "RAINBOWD_STATE_DIR": str(launch.state_dir),
        "TEXT": "two\nlines",
        **env,
    }


@both_gates
async def test_arguments_pass_as_they_are(launch: Launcher, env: dict[str, str]) -> None:
    process = launch("printf", "%s|", "", " a  b ", "$HOME", "*", "'\"\\", env=env)
    assert await process.wait() == 0
    assert launch.rest() == "| a  b |$HOME|*|'\"\\|"


@both_gates
async def test_a_command_that_vanished_meanwhile_ends_with_a_message(launch: Launcher, env: dict[str, str]) -> None:
    process = launch("./no-such-app", env=env)
    assert await process.wait() not in {0, None}
    assert "no-such-app" in launch.rest()


async def test_the_record_identifies_the_process(launch: Launcher) -> None:
    process = launch(*READY)
    identity = process.identity
    assert identity.pid == process.pid
    assert (identity.generation, identity.state_dir) == (1, str(launch.state_dir))
    assert (identity.release, identity.address) == (str(launch.release), "127.0.0.1:20000")
    assert identity.pidfile == str(launch.pidfile)
    assert read_entry(process.pid) == ProcessInfo(process.pid, os.getpid(), process.pid, identity.start_time)
    process.signal(signal.SIGKILL)
    await process.wait()


def test_a_release_that_is_gone_is_a_failed_deploy(launch: Launcher) -> None:
    shutil.rmtree(launch.release)
    with pytest.raises(DeployFailed, match=r"^release: directory gone: "):
        launch("true")


def test_what_the_system_refuses_is_a_failed_deploy(launch: Launcher) -> None:
    with pytest.raises(DeployFailed, match=r"^run: cannot start: Argument list too long$"):
        launch("true", "x" * (1 << 20))


async def test_a_launch_from_a_run_of_trio_is_reaped_like_any_other(launch: Launcher) -> None:
    processes = [launch("sh", "-c", f"exit {status}") for status in range(5)]
    with trio.fail_after(30):
        assert [await process.wait() for process in processes] == [0, 1, 2, 3, 4]


@needs_root
async def test_another_users_app_can_never_be_root_again(launch: Launcher) -> None:
    user = account()
    process = launch("grep", "-E", "^(Uid|Gid|Groups):", "/proc/self/status", account=user)
    uids, gids, groups = [set((await launch.line()).split()[1:]) for _ in range(3)]
    assert (uids, gids) == ({str(user.uid)}, {str(user.gid)})
    assert groups == {str(gid) for gid in user.groups}
    assert await process.wait() == 0


@needs_root
async def test_groups_are_those_of_the_user_and_none_of_ours(launch: Launcher) -> None:
    process = launch("id", "-G", account=replace(account(), groups=(1, 2)))
    assert (await launch.line()).split() == [str(account().gid), "1", "2"]
    assert await process.wait() == 0


@needs_root
async def test_another_users_app_has_the_limits_that_we_were_started_with(launch: Launcher) -> None:
    process = launch("sh", "-c", "ulimit -Sn; ulimit -Hn", nofile_limit=77, account=account())
    assert [await launch.line(), await launch.line()] == ["77", str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])]
    assert await process.wait() == 0


@needs_root
def test_a_gate_that_the_user_may_not_run_is_named(
    launch: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").touch(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(DeployFailed, match=r"^run: cannot start .*/python as user: Permission denied$"):
        launch("true", env=PYTHON_GATE, account=account())


def test_who_is_not_root_becomes_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    somebody = Account(12345, 12345, (12345,), {})
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert spawner._becoming(somebody) == {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert spawner._becoming(somebody) == {"user": 12345, "group": 12345, "extra_groups": (12345,)}
    assert spawner._becoming(None) == {}
