"""The commands as another user runs them, who is let in by the group of the state directory, or is not."""

from __future__ import annotations

import codecs
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

import rainbowd.cli.deploy
import rainbowd.cli.history
import rainbowd.cli.status
from rainbowd.cli import main
from rainbowd.report.lock import Lock
from rainbowd.report.state_dir import prepare
from rainbowd.report.status import write
from tests.accounts import account, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_root
AT = "2026-11-23T10:00:00.000Z"
LOADED = (rainbowd.cli.deploy, rainbowd.cli.history, rainbowd.cli.status, codecs.lookup("utf-8-sig"))
"""Now, as the other user may not read what Python and we are made of."""


@pytest.fixture
def site(open_path: Path) -> Iterator[Path]:
    (open_path / "rainbowd.json").write_text('{"release": "current", "state_dir": "state"}')
    (open_path / "v1").mkdir()
    (open_path / "current").symlink_to("v1")
    state_dir = open_path / "state"
    prepare(state_dir)
    os.chown(state_dir, -1, account().gid)  # whom its files are then for
    lock = Lock.acquire(state_dir)
    agent = {"pid": os.getpid(), "version": "1", "started_at": AT, "listen": [], "state": "ready"}
    write(state_dir, {"agent": agent, "live": None, "wanted": None, "last_deploy": None, "generations": []})
    (state_dir / "journal.jsonl").touch(mode=0o640)
    yield open_path
    lock.release()


def as_another(site: Path, *words: str, is_member: bool) -> tuple[int, str]:
    """The exit status of a command, and what it said."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 99
        with contextlib.suppress(BaseException):
            os.dup2(theirs, 1)
            os.dup2(theirs, 2)
            os.setgroups([])
            os.setgid(account().gid if is_member else 54321)
            os.setuid(account().uid)
            with os.fdopen(1, "w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                status = main([*words, "--config", str(site / "rainbowd.json")])
        os._exit(status)
    os.close(theirs)
    with os.fdopen(ours) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def test_a_member_of_the_group_may_read(site: Path) -> None:
    for words, said in ((["status"], "no generations"), (["history"], "no deploys recorded")):
        status, text = as_another(site, *words, is_member=True)
        assert (status, said in text) == (0, True), text


def test_a_file_that_may_not_be_read_is_named(site: Path) -> None:
    for command, expected, file in (
        ("status", 2, "agent.json"),
        ("history", 1, "journal.jsonl"),
        ("deploy", 2, "agent.json"),
    ):
        status, text = as_another(site, command, is_member=False)
        assert status == expected
        assert str(site / "state" / file) in text
        assert "ermission denied" in text


def test_a_file_in_a_closed_directory_is_named(site: Path) -> None:
    site.chmod(0o700)
    for command in ("status", "history", "deploy"):
        status, text = as_another(site, command, is_member=False)
        assert status == 1
        assert f"{site / 'rainbowd.json'}: " in text
        assert "ermission denied" in text


def test_a_file_that_may_not_be_written_is_named_and_nothing_is_changed(site: Path) -> None:
    status, text = as_another(site, "deploy", is_member=True)
    assert status == 2
    assert f"{site / 'redeploy.trigger'}: you have no permission to write to the file or its directory" in text
    (site / "redeploy.trigger").touch()
    (site / "redeploy.trigger").chmod(0o666)
    status, text = as_another(site, "deploy", "v1", is_member=True)
    assert status == 2
    assert f"cannot switch {site / 'current'}: you have no permission to write to {site}" in text
    assert (site / "redeploy.trigger").read_bytes() == b""
