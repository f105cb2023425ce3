from __future__ import annotations

import os

from rainbowd.deploy.process.membership import Members
from rainbowd.deploy.process.pidfile_daemon import PidfileDaemon
from rainbowd.deploy.process.procfs import ProcessInfo, read_entry
from rainbowd.deploy.process.reaper import reserved_children

CHILD = 4_000_000
ONE, OTHER = (ProcessInfo(4_000_000 + number, 1, 4_000_000, 17) for number in (1, 2))


def found(*live: ProcessInfo, named: ProcessInfo | None = None) -> Members:
    return Members(live, (), named)


def zombie(command: str) -> ProcessInfo:
    """A child of ours that has ended."""
    pid = os.posix_spawnp("sh", ["sh", "-c", command], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    entry = read_entry(pid)
    assert entry is not None
    return entry


def test_the_process_that_the_pidfile_names_is_followed_unless_it_is_the_child() -> None:
    daemon = PidfileDaemon()
    child = ProcessInfo(CHILD, 1, CHILD, 17)
    daemon.refresh(found(child, ONE, named=child), CHILD)
    assert daemon.entry is None
    daemon.refresh(found(child, ONE, named=ONE), CHILD)
    assert daemon.entry == ONE
    assert (ONE.pid, ONE.start_time) in reserved_children()
    daemon.follow(None)
    assert (ONE.pid, ONE.start_time) not in reserved_children()


def test_a_daemon_is_followed_without_its_pidfile_until_it_has_ended() -> None:
    daemon = PidfileDaemon()
    daemon.refresh(found(ONE, OTHER, named=ONE), CHILD)
    daemon.refresh(found(ONE, OTHER), CHILD)
    assert daemon.entry == ONE
    daemon.refresh(found(OTHER), CHILD)
    assert daemon.entry is None


def test_the_exit_status_of_a_daemon_is_known_if_it_was_a_child_of_the_agent() -> None:
    daemon = PidfileDaemon()
    daemon.follow(zombie("exit 3"))
    daemon.refresh(found(ONE, named=ONE), CHILD)
    assert (daemon.entry, daemon.status) == (ONE, 3)
    daemon.follow(None)  # no child of ours
    assert daemon.status == 3
    daemon.follow(zombie("kill -9 $$"))
    daemon.refresh(found(), CHILD)
    assert daemon.status == -9
