"""What another account reaches of the API of an agent that runs as root: before and after an upgrade."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, needs_root
from tests.live.agent import free_port
from tests.security.test_processes import HERE, Site, eventually, site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, needs_root]

CALLS = [("POST", "/redeploy"), ("POST", "/rollback"), ("GET", "/status"), ("GET", "/events"), ("GET", "/metrics")]


def outcomes(one: Site, address: tuple[str, str]) -> set[str]:
    """Have two other accounts make every call without a token; what came of it."""
    script = str(shutil.copy(HERE / "caller.py", one.directory))
    calls = [(user, *call) for user in (STRANGER, USER) for call in CALLS]
    processes = [
        one.attack(accounts.python(), script, *address, method, target, user=user) for user, method, target in calls
    ]
    return {process.communicate(timeout=30)[0].strip() for process in processes}


@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "Unix"])
def test_no_other_account_deploys_or_reads_through_the_api(open_path: Path, kind: str, record_property: Record) -> None:
    """Two other accounts call the API without a token, before and after an upgrade of the agent."""
    if kind == "IPv6" and not socket.has_ipv6:
        pytest.skip("there is no IPv6")
    host, port = {"IPv4": "127.0.0.1", "IPv6": "::1", "Unix": "unix"}[kind], str(free_port())
    address = (host, f"{open_path}/api.sock" if kind == "Unix" else port)
    listen = f"unix:{address[1]}" if kind == "Unix" else f"[::1]:{port}" if kind == "IPv6" else f"{host}:{port}"
    expected = {"Permission denied"} if kind == "Unix" else {"401"}
    with site(open_path, api={"enabled": True, "listen": listen}) as one:
        assert one.deploy("b")["event"] == "deploy.succeeded"
        eventually(lambda: "Connection refused" not in outcomes(one, address), "the API")
        seen = [outcomes(one, address)]
        assert one.agent.upgrade()["event"] == "agent.upgraded"
        eventually(lambda: "Connection refused" not in outcomes(one, address), "the API after the upgrade")
        seen.append(outcomes(one, address))
        assert seen == [expected, expected]
        assert one.get() == "2"
        record_property("got", f"{expected} to {len(CALLS)} calls of 2 accounts, before and after the upgrade")
