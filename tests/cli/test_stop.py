from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.cli import stop
from rainbowd.cli.no_agent import Orphan
from rainbowd.cli.stop import systemd_unit

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.report.journal import Event

OF_INIT, OF_A_SHELL = "Name:\trainbowd\nPPid:\t1\n", "Name:\trainbowd\nPPid:\t4711\n"


@pytest.mark.parametrize(
    ("cgroup", "status", "unit"),
    [
        ("0::/system.slice/system-rainbowd.slice/rainbowd@shop.service\n", OF_INIT, "rainbowd@shop.service"),
        ("4:memory:/x\n1:name=systemd:/system.slice/rainbowd.service\n", OF_INIT, "rainbowd.service"),
        ("0::/system.slice/ssh.service\n", OF_A_SHELL, None),
        ("0::/user.slice/user-0.slice/session-2.scope\n", OF_INIT, None),
        ("", "", None),
    ],
)
def test_the_service_that_would_start_the_agent_again_is_known(cgroup: str, status: str, unit: str | None) -> None:
    assert systemd_unit(cgroup, status) == unit


@pytest.mark.parametrize(
    ("events", "status", "said"),
    [
        ([{"event": "agent.stopped"}], 0, "stopped after 1.50 s"),
        (
            [{"event": "generation.retired", "left": [7, 8]}, {"event": "agent.stopped"}],
            1,
            "still running: 7, 8",
        ),
        ([], 0, "stopped after 1.50 s"),
    ],
)
def test_a_stop_that_leaves_processes_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], events: list[Event], status: int, said: str
) -> None:
    assert stop._report(tmp_path, events, 1.5) == status
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_an_app_that_an_agent_has_not_taken_over_yet_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "find_orphans", lambda _: [Orphan(3, [7, 8]), Orphan(2, [5])])
    assert stop._report(tmp_path, [], 1.5) == 1
    assert "the app, which is still running: to stop it, run `kill 7 8 5`" in capsys.readouterr().err
