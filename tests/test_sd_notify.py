"""What systemd is told, read by a stand-in for it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.sd_notify import SystemdNotifier, describe, notify, watchdog_seconds
from tests.systemd import Systemd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    name = f"@rainbowd-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "n@tify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with contextlib.closing(Systemd(name)) as systemd:
        yield systemd


def status(live: int | None = None, failed: str | None = None) -> dict[str, Any]:
    generations = [{"id": number, "release": f"/srv/releases/v{number}"} for number in (1, 2)]
    last = None if failed is None else {"result": "failed", "reason": failed}
    return {"live": live, "generations": generations, "last_deploy": last}


def test_a_message_has_a_line_for_each_field(systemd: Systemd) -> None:
    assert notify(READY=1, STATUS="grün")
    assert systemd.heard() == [{"READY": "1", "STATUS": "grün"}]


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1"])
def test_without_a_known_socket_nothing_is_sent(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert notify(READY=1)


def test_a_removed_socket_is_not_an_error(systemd: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify(READY=1)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "42"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0", "WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "soon", "WATCHDOG_PID": "42"}, None),
    ],
)
def test_the_watchdog_is_ours_only_if_it_waits_for_us(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, 42) == seconds


def test_the_status_names_the_live_release_and_the_last_failure() -> None:
    assert describe(status()) == "nothing is live"
    assert describe(status(2)) == "v2 is live (generation 2)"
    assert describe(status(2, "exited\nwith 1")) == "v2 is live (generation 2); the last deploy failed: exited with 1"
    assert len(describe(status(2, "x" * 5000))) == 300


def test_nothing_is_sent_before_the_agent_accepts(systemd: Systemd) -> None:
    notices = SystemdNotifier()
    notices.publish_status(status(1))
    notices.notify_stopping(1)
    assert systemd.heard() == []
    notices.notify_ready()
    assert systemd.heard() == [{"READY": "1", "STATUS": "v1 is live (generation 1)"}]


def test_a_status_is_sent_when_it_changes(systemd: Systemd) -> None:
    notices = SystemdNotifier()
    notices.notify_ready()
    systemd.heard()
    for live in (1, 1, 2):
        notices.publish_status(status(live))
    assert [message["STATUS"][:2] for message in systemd.heard()] == ["v1", "v2"]


def test_a_deploy_by_signal_is_a_reload_until_it_is_decided(systemd: Systemd) -> None:
    notices = SystemdNotifier()
    notices.notify_ready()
    notices.on_event("deploy.requested", {"deploy": "x", "trigger": "symlink"})
    notices.on_event("deploy.failed", {"deploy": "x"})
    systemd.heard()
    notices.on_event("deploy.requested", {"deploy": "y", "trigger": "signal"})
    (begin,) = systemd.heard()
    assert begin["RELOADING"] == "1"
    assert int(begin["MONOTONIC_USEC"]) > 0
    notices.on_event("deploy.succeeded", {"deploy": "z"})
    notices.on_event("generation.live", {"deploy": "y"})
    assert systemd.heard() == []
    notices.on_event("deploy.failed", {"deploy": "y"})
    assert systemd.heard() == [{"READY": "1"}]


def test_two_reloads_end_with_the_second(systemd: Systemd) -> None:
    notices = SystemdNotifier()
    notices.notify_ready()
    for deploy in "yz":
        notices.on_event("deploy.requested", {"deploy": deploy, "trigger": "signal"})
    systemd.heard()
    notices.on_event("deploy.succeeded", {"deploy": "y"})
    assert systemd.heard() == []
    notices.on_event("deploy.succeeded", {"deploy": "z"})
    assert systemd.heard() == [{"READY": "1"}]


def test_a_stop_extends_the_timeout_by_the_time_it_may_take(systemd: Systemd) -> None:
    notices = SystemdNotifier()
    notices.notify_ready()
    notices.on_event("deploy.requested", {"deploy": "y", "trigger": "signal"})
    systemd.heard()
    notices.notify_stopping(25 + 10)
    notices.on_event("deploy.failed", {"deploy": "y"})
    assert systemd.heard() == [{"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "45000000"}]


def test_who_hands_over_names_the_next_and_is_silent(systemd: Systemd) -> None:
    notices = SystemdNotifier()
    notices.notify_ready()
    systemd.heard()
    notices.hand_over(4711)
    notices.publish_status(status(1))
    notices.notify_stopping(1)
    assert systemd.heard() == [{"MAINPID": "4711", "WATCHDOG": "1"}]


def test_a_message_that_could_not_be_sent_is_sent_with_the_next(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = os.environ["NOTIFY_SOCKET"]
    notices = SystemdNotifier()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notices.notify_ready()
    notices.publish_status(status(1))
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notices.publish_status(status(2))
    assert systemd.heard() == [{"READY": "1", "STATUS": "v2 is live (generation 2)"}]
    notices.hand_over(1)
    assert "READY" not in systemd.heard()[0]


async def test_keep_alive_messages_are_sent_twice_as_often_as_required(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, autojump: None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    notices = SystemdNotifier()
    notices.publish_status(status(1))
    notices.notify_ready()
    notices.on_event("deploy.requested", {"deploy": "y", "trigger": "signal"})
    systemd.heard()
    with trio.move_on_after(7):
        await notices.run()
    sign = {"WATCHDOG": "1", "STATUS": "v1 is live (generation 1)", "EXTEND_TIMEOUT_USEC": "30000000"}
    assert systemd.heard() == [sign] * 4
    notices.on_event("deploy.succeeded", {"deploy": "y"})
    systemd.heard()
    with trio.move_on_after(2):
        await notices.run()
    assert systemd.heard() == [{"WATCHDOG": "1", "STATUS": "v1 is live (generation 1)"}]


async def test_the_next_main_process_is_named_even_if_the_queue_of_systemd_is_full(
    systemd: Systemd, autojump: None
) -> None:
    notices = SystemdNotifier()
    notices.notify_ready()
    while notify(STATUS="fills the queue"):
        pass
    notices.hand_over(4711)
    assert "MAINPID" not in systemd.heard()[-1]
    with trio.move_on_after(1):
        await notices.run()
    assert systemd.heard() == [{"MAINPID": "4711", "WATCHDOG": "1"}]


async def test_without_systemd_no_sign_is_given(monkeypatch: pytest.MonkeyPatch, autojump: None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    await SystemdNotifier().run()
