from __future__ import annotations

import os
import signal
import subprocess
import sys

from rainbowd.deploy.process import reap_orphans
from rainbowd.deploy.process.procfs import ProcessInfo, read_entry, read_table
from rainbowd.deploy.process.reaper import reap, release_status, reserve_status
from tests.signal_sets import signal_set


def orphan(command: str = "exit 7") -> ProcessInfo:
    """A zombie whose parent has ended, so that it is our child."""
    parent = subprocess.Popen(
        ["sh", "-c", f"exec 3<&0; sh -c 'read _; {command}' <&3 & echo $!"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.wait()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    entry = read_entry(pid)
    assert entry is not None
    return entry


def test_an_orphan_that_has_ended_is_reaped() -> None:
    zombie = orphan()
    assert zombie.parent == os.getpid()
    reap_orphans()
    assert read_entry(zombie.pid) is None


def test_a_child_whose_status_somebody_awaits_is_left_to_them() -> None:
    zombie = orphan()
    reserve_status(zombie.pid, zombie.start_time)
    reap_orphans()
    assert reap(zombie.pid, zombie.start_time) == 7
    assert reap(zombie.pid, zombie.start_time) is None
    release_status(zombie.pid, zombie.start_time)


def test_a_child_whose_status_nobody_awaits_is_reaped() -> None:
    zombie = orphan()
    reserve_status(zombie.pid, zombie.start_time)
    release_status(zombie.pid, zombie.start_time)
    reap_orphans()
    assert read_entry(zombie.pid) is None


def test_a_signal_is_a_negative_status() -> None:
    zombie = orphan("kill -9 $$")
    assert reap(zombie.pid, zombie.start_time) == -signal.SIGKILL


def test_a_child_that_runs_is_not_reaped() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        reap_orphans()
        entry = read_entry(child.pid)
        assert entry is not None
        assert reap(child.pid, entry.start_time) is None
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert reap(child.pid, entry.start_time) is None


def test_another_child_with_the_same_number_is_not_reaped() -> None:
    zombie = orphan()
    assert reap(zombie.pid, zombie.start_time - 1) is None
    assert reap(zombie.pid, zombie.start_time) == 7


def test_a_process_that_is_not_our_child_has_no_status_for_us() -> None:
    parent = read_table()[os.getppid()]
    assert reap(parent.pid, parent.start_time) is None


def test_without_children_there_is_nothing_to_reap() -> None:
    script = "from rainbowd.deploy.process import reap_orphans; reap_orphans()"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_children_inherit_no_signal_that_the_agent_was_started_with_ignored_or_blocked() -> None:
    agent = """
import subprocess
from rainbowd.deploy.process import reset_signals
subprocess.run(["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"])
reset_signals()
subprocess.run(["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"])
"""
    start = f"""
import os, signal, sys
for signum in signal.SIGHUP, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE:
    signal.signal(signum, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])
os.execv(sys.executable, [sys.executable, "-c", {agent!r}])
"""
    told = subprocess.run([sys.executable, "-S", "-c", start], check=True, capture_output=True, text=True)
    blocked, ignored, blocked_after, ignored_after = (signal_set(line.split()[1]) for line in told.stdout.splitlines())
    assert blocked
    assert ignored
    assert (blocked_after, ignored_after) == (0, 0)
