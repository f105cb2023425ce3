"""A real agent tells a stand-in for systemd what it does."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import running
from tests.systemd import Systemd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    systemd = Systemd(f"@rainbowd-live-{os.getpid()}")
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.name)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with contextlib.closing(systemd):
        yield systemd


def is_stopped(pid: int) -> bool:
    """Return whether no thread of a process can run: proc(5), the third field of ``stat``."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads} == {"T"}


def test_systemd_is_notified_from_ready_to_stopping(systemd: Systemd, tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        assert systemd.hear("READY")["STATUS"] == "nothing is live"
        systemd.hear("STATUS", "a is live (generation 1)")
        assert agent.process is not None
        agent.process.send_signal(signal.SIGHUP)
        reloading = systemd.hear("RELOADING", "1")
        assert int(reloading["MONOTONIC_USEC"]) > 0
        systemd.hear_all(READY="1", STATUS="a is live (generation 2)", WATCHDOG="1")
        (agent.add_release("broken") / "app.json").write_text('{"exit_at_start": 3}')
        agent.configure(run=["false"])
        agent.process.send_signal(signal.SIGHUP)
        systemd.hear("RELOADING", "1")
        systemd.hear_all(READY="1", STATUS="a is live (generation 2); the last deploy failed: ")
        agent.process.send_signal(signal.SIGTERM)
        assert systemd.hear("STOPPING", "1")["EXTEND_TIMEOUT_USEC"] == "45000000"
        assert agent.process.wait(30) == 0


def test_an_agent_that_hangs_gives_no_sign_of_life(systemd: Systemd, tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        systemd.hear("WATCHDOG", "1")
        assert agent.process is not None
        pid = agent.process.pid
        agent.process.send_signal(signal.SIGSTOP)
        agent.wait_until(lambda: {} if is_stopped(pid) else None, "the end of what it does")
        systemd.heard()
        with pytest.raises(TimeoutError):
            systemd.hear("WATCHDOG", seconds=1.0)
        agent.process.send_signal(signal.SIGCONT)
        systemd.hear("WATCHDOG")


def test_after_an_upgrade_the_next_main_process_speaks(systemd: Systemd, tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        assert agent.process is not None
        agent.process.send_signal(signal.SIGUSR2)
        pid = int(systemd.hear("MAINPID")["MAINPID"])
        assert agent.wait_for("agent.upgraded")["pid"] == pid
        agent.follow(pid)
        systemd.heard()
        systemd.hear("WATCHDOG", "1")
        agent.stop()
        systemd.hear("STOPPING", "1")


def test_the_app_does_not_get_the_notify_socket(systemd: Systemd, tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        pid = agent.status()["generations"][0]["pid"]
        with open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123 - of procfs
            names = {line.partition(b"=")[0] for line in environ.read().split(b"\0")}
    assert b"RAINBOWD_GENERATION" in names
    assert not names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC"}
