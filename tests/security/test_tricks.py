"""What the app and the deployer may put in place of the files that the agent reads: tried against real agents."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, needs_root
from tests.security.site import HERE, Site, Visitor, eventually, every_agent, is_there, site
from tests.security.test_files import give

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

SECRET = "c0nf1dent1al"
TRICKS = ["symlink", "hard link", "fifo", "directory", "socket", "sparse"]


def trick(one: Site, kind: str, path: Path, *target: object, user: str) -> str:
    """Have ``user`` put a thing of this kind at ``path``; what it said."""
    script = shutil.copy(HERE / "trickery.py", one.directory)
    words = [accounts.python(), str(script), kind, str(path), *map(str, target)]
    process = one.attack(*words, user=user)
    said, _ = process.communicate(timeout=30)
    assert said.endswith("done\n"), (kind, said)
    return said


def secret_of_root(directory: Path) -> Path:
    """Make a file that only root may read."""
    secret = directory / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    return secret


def written(one: Site) -> str:
    """Return the content of the reports and of the log; deploys that end meanwhile replace and remove files."""
    text = one.agent.output_file.read_text(errors="replace")
    for file in one.agent.state_dir.glob("*.json*"):
        with contextlib.suppress(FileNotFoundError):
            text += file.read_text(errors="replace")
    return text


@every_agent
def test_a_pidfile_has_nobody_else_signalled(open_path: Path, agent: str, record_property: Record) -> None:
    """The app's pidfile names other processes, or is something other than a file."""
    with site(open_path) as one:
        one.become(agent)
        root = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        stranger = one.attack("sleep", "1000")
        process = one.agent.process
        assert process is not None
        secret = secret_of_root(open_path)
        numbers = [root.pid, stranger.pid, process.pid, os.getpid(), 1, -1, 0, 2**31 - 1, 2**32, "9" * 400]
        tricks: list[tuple[str, Any]] = [("text", number) for number in numbers]
        tricks += [(kind, secret) for kind in TRICKS] + [("text", "the new agent")]
        if agent != "started":
            tricks = [("text", root.pid), ("text", process.pid), ("symlink", secret), ("fifo", secret)]
        try:
            for generation, (kind, target) in enumerate(tricks, 1):
                if target == "the new agent":
                    assert one.agent.upgrade()["event"] == "agent.upgraded"
                    process = one.agent.process
                    assert process is not None
                    target = process.pid  # noqa: PLW2901 - its number is not known before
                pidfile = one.agent.state_dir / f"generation-{generation}" / "pid"
                app = one.agent.status()["generations"][0]["pid"]
                trick(one, kind, pidfile, target, user=USER)
                since = len(one.agent.events())
                assert one.deploy("b" if generation % 2 else "a")["event"] == "deploy.succeeded"
                retired = one.agent.wait_for("generation.retired", since, generation=generation)
                assert (retired["left"], is_there(app)) == ([], False), kind
                assert root.poll() is stranger.poll() is process.poll() is None, (kind, target)
            record_property("got", f"{generation} pidfiles: every app ended, nobody else was signalled")
        finally:
            root.kill()
            root.wait()


@every_agent
def test_a_trigger_file_shows_nothing_of_root_and_holds_up_nobody(
    open_path: Path, agent: str, record_property: Record
) -> None:
    """The deployer's trigger file is a link to a secret, a device, a FIFO, or has a hostile note or release."""
    with site(open_path, trigger_file="shared/trigger") as one:
        one.become(agent)
        (open_path / "shared").mkdir()
        give(open_path / "shared")
        trigger, secret = open_path / "shared" / "trigger", secret_of_root(open_path)
        devices = "/dev/zero", "/proc/self/environ", "/proc/self/fd/0", str(trigger)
        tricks: list[tuple[str, Any]] = [(kind, secret) for kind in TRICKS] + [("symlink", name) for name in devices]
        tricks += [("time", 0), ("time", 2**33), ("nested", secret)]
        tricks += [("note", release) for release in ("/etc", "../../../etc", "b")]
        with Visitor(one) as visitor:
            for number, (kind, target) in enumerate(tricks):
                trick(one, kind, trigger, target, user=STRANGER)
                one.deploy("ba"[number % 2])  # the agent reads both files for each deploy
                visitor.is_served()
            trick(one, "text", trigger, "the end", user=STRANGER)
            since = len(one.agent.events())
            one.agent.flip("b")  # the deploy that the text requested may be superseded by this one
            one.agent.wait_for("deploy.succeeded", since, release=str(open_path / "releases" / "b"))
        eventually(lambda: one.get() == str(one.agent.status()["live"]), "the live generation, after every deploy")
        text = written(one)
        assert SECRET not in text
        lines = [line.strip("\x00") for line in text.splitlines()]  # a reserved file ends with nulls
        assert [line for line in lines if any(char in line for char in "\x1b\x00\u202e")] == []
        record_property("got", f"nothing of the secret in any report after {len(tricks)} tricks; {visitor}")
