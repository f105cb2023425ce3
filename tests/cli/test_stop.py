from __future__ import annotations

import pytest

from rainbowd.cli.stop import systemd_unit

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
