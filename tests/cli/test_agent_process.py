from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rainbowd.cli.agent_process import open_agent
from rainbowd.errors import NotRunning, RainbowdError
from rainbowd.report import agent_pid_file
from rainbowd.report.agent_pid_file import AgentIdentity
from rainbowd.report.lock import LOCK_NAME
from rainbowd.report.state_dir import prepare
from tests.accounts import account, needs_root, python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
os.pwrite(lock, sys.argv[2].encode() or b"%d" % os.getpid(), 0)
print(flush=True)
sys.stdin.read()
"""
"""Holds a lock, with the pid of another process in it if one is given."""


class Holder:
    """A process that holds the lock of a state directory, and what the lock says."""

    def __init__(self, state_dir: Path, pid: int | None, uid: int | None) -> None:
        lock = state_dir / LOCK_NAME
        lock.touch()
        if uid is not None:
            os.chown(lock, uid, -1)
        self.process = subprocess.Popen(
            [shutil.which("python3", path=os.defpath) or sys.executable, "-c", HOLD, lock, str(pid or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=uid,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def state_dir(open_path: Path) -> Path:
    prepare(open_path / "state", is_searched=True)
    return open_path / "state"


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_the_process_that_holds_the_lock_is_signalled(state_dir: Path) -> None:
    holder = Holder(state_dir, None, None)
    with open_agent(state_dir, "stop") as agent:
        assert agent.pid == holder.process.pid
        assert not agent.has_ended()
        assert (agent.handles(signal.SIGINT), agent.handles(signal.SIGUSR2)) == (True, False)
        agent.send(signal.SIGTERM)
        assert agent.has_ended(30)
    holder.end()


def test_without_an_agent_nothing_is_opened(state_dir: Path) -> None:
    with pytest.raises(NotRunning), open_agent(state_dir, "stop"):
        pass


@needs_root
def test_a_lock_of_another_user_that_names_a_process_of_root_signals_nothing(
    state_dir: Path, victim: subprocess.Popen[bytes]
) -> None:
    holder = Holder(state_dir, victim.pid, account().uid)
    with (
        pytest.raises(RainbowdError, match=f"pid {victim.pid}.*does not belong to the owner.*nothing was signalled"),
        open_agent(state_dir, "upgrade"),
    ):
        pass
    assert victim.poll() is None
    holder.end()


@needs_root
def test_root_signals_no_process_that_does_not_have_the_lock_open(
    state_dir: Path, victim: subprocess.Popen[bytes]
) -> None:
    """The pid is that of another namespace, or was left there by an agent that is gone."""
    holder = Holder(state_dir, victim.pid, None)
    with pytest.raises(RainbowdError, match="does not have the lock open"), open_agent(state_dir, "stop"):
        pass
    assert victim.poll() is None
    holder.end()


@needs_root
def test_an_agent_that_may_not_be_signalled_is_reported_with_its_owner(state_dir: Path) -> None:
    holder = Holder(state_dir, None, None)
    (state_dir / LOCK_NAME).chmod(0o644)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setuid(account().uid)
            with open_agent(state_dir, "stop") as agent:
                agent.send(signal.SIGTERM)
        except RainbowdError as error:
            status = 0 if "it belongs to root; run this as that user or as root" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert holder.process.poll() is None
    holder.end()


def test_a_lock_that_names_no_process_signals_nothing(state_dir: Path, victim: subprocess.Popen[bytes]) -> None:
    victim.kill()
    victim.wait()
    holder = Holder(state_dir, victim.pid, None)
    with pytest.raises(RainbowdError, match="there is no such process"), open_agent(state_dir, "stop"):
        pass
    holder.end()


@needs_root
def test_an_agent_that_may_bind_low_ports_is_known_to_its_own_user(state_dir: Path) -> None:
    """What a process with capabilities runs and has open is hidden from its own user: ptrace(2), access mode."""
    lock = state_dir / LOCK_NAME
    lock.touch()
    os.chown(state_dir, account().uid, -1)
    os.chown(lock, account().uid, -1)
    may_bind = ["--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service"]
    as_another = ["setpriv", "--reuid", str(account().uid), "--regid", str(account().gid), "--clear-groups"]
    hold = [*as_another, *may_bind, python(), "-c", HOLD, str(lock), ""]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        start_time, boot_id = agent_pid_file._stat(process.pid)[1], agent_pid_file._boot_id()
        described = AgentIdentity(process.pid, start_time, boot_id, python(), "")
        agent_pid_file.write(state_dir, described._replace(executable=os.path.realpath(python())))
        os.chown(state_dir / agent_pid_file.NAME, account().uid, -1)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setgid(account().gid)
                os.setuid(account().uid)
                assert not agent_pid_file.executable(process.pid), "hidden"
                with open_agent(state_dir, "stop") as agent:
                    agent.send(signal.SIGKILL)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert process.wait(30) == -signal.SIGKILL
