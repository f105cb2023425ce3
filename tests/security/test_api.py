"""What another account reaches of the API of an agent that runs as root: before and after an upgrade."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, needs_root
from tests.live.agent import free_port
from tests.live.api import Caller
from tests.live.test_api import TRAVERSALS
from tests.security.site import HERE, Site, eventually, every_agent, site

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

HOSTILE_NOTE = "$(id)\x00\x1b]0;x\x07\u202e\n'\""
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


def ended_hooks(one: Site) -> list[tuple[int, list[str]]]:
    """Return the exit status and the output of each hook that printed something."""
    ended = [event for event in one.agent.events() if event["event"] == "hook.ended" and event["output"]]
    return [(event["exit_status"], event["output"]) for event in ended]


@every_agent
def test_a_caller_with_the_token_goes_to_no_directory_but_a_release(
    open_path: Path, agent: str, record_property: Record
) -> None:
    """A caller with the token deploys by 20 ways out of the releases, and rolls back with a hostile note."""
    port = free_port()
    (open_path / "elsewhere").mkdir()
    hook = 'printf "%s" "$RAINBOWD_NOTE"'
    with site(open_path, api={"enabled": True, "listen": f"127.0.0.1:{port}"}, hooks={"after_live": hook}) as one:
        (open_path / "releases" / "link").symlink_to("/etc")
        caller = Caller(one.agent, port)
        assert one.deploy("b")["event"] == "deploy.succeeded"
        one.become(agent)
        caller.until_it_listens()
        for name in TRAVERSALS:
            answer = caller.deploy({"release": name})
            assert answer.status in {400, 409}, (name, answer)
        assert one.agent.link.readlink() == Path("releases/b")
        for release in ("a", "b"):
            answer = caller.deploy({"note": HOSTILE_NOTE}, path="/rollback")
            assert (answer.status, Path(answer.told["release"]).name) == (200, release)
            assert one.agent.link.readlink() == Path("releases") / release
        eventually(lambda: len(ended_hooks(one)) == 2, "the hooks")
        notes = [event["note"] for event in one.agent.events() if event.get("note")]
        assert len(notes) == 2
        assert all(note.isprintable() for note in notes)
        assert ended_hooks(one) == [(0, [notes[0]]), (0, [notes[0]])]
        record_property(
            "got", f"{len(TRAVERSALS)} names refused, the link was only turned to releases; note {notes[0]!r}"
        )
