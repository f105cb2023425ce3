"""What the app and the deployer may put in place of the files that the agent reads: tried against real agents."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, needs_root
from tests.security.test_files import give
from tests.security.test_processes import HERE, Site, is_there, site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.live, needs_root]

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


class Clock:
    """Asks the proxy all the time, and knows the longest wait."""

    def __init__(self, one: Site) -> None:
        self._one = one
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.worst_seconds = 0.0
        self.answers: list[str] = []
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.01):
            begun_at = time.monotonic()
            try:
                self.answers.append(self._one.get())
            except OSError as error:
                self.errors.append(repr(error))
            self.worst_seconds = max(self.worst_seconds, time.monotonic() - begun_at)

    def __str__(self) -> str:
        return f"{len(self.answers)} requests answered, the slowest after {self.worst_seconds:.2f} s"


def test_a_pidfile_has_nobody_else_signalled(open_path: Path, record_property: Callable[[str, object], None]) -> None:
    """The app's pidfile names other processes, or is something other than a file."""
    with site(open_path) as one:
        root = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        stranger = one.attack("sleep", "1000")
        agent = one.agent.process
        assert agent is not None
        secret = secret_of_root(open_path)
        numbers = [root.pid, stranger.pid, agent.pid, os.getpid(), 1, -1, 0, 2**31 - 1, 2**32, "9" * 400]
        tricks: list[tuple[str, Any]] = [("text", number) for number in numbers]
        tricks += [(kind, secret) for kind in TRICKS] + [("text", "the new agent")]
        try:
            for generation, (kind, target) in enumerate(tricks, 1):
                if target == "the new agent":
                    assert one.agent.upgrade()["event"] == "agent.upgraded"
                    agent = one.agent.process
                    assert agent is not None
                    target = agent.pid  # noqa: PLW2901 - its number is not known before
                pidfile = one.agent.state_dir / f"generation-{generation}" / "pid"
                app = one.agent.status()["generations"][0]["pid"]
                trick(one, kind, pidfile, target, user=USER)
                since = len(one.agent.events())
                assert one.deploy("b" if generation % 2 else "a")["event"] == "deploy.succeeded"
                retired = one.agent.wait_for("generation.retired", since, generation=generation)
                assert (retired["left"], is_there(app)) == ([], False), kind
                assert root.poll() is stranger.poll() is agent.poll() is None, (kind, target)
            record_property("got", f"{generation} pidfiles: every app ended, nobody else was signalled")
        finally:
            root.kill()
            root.wait()


def test_a_trigger_file_shows_nothing_of_root_and_holds_up_nobody(
    open_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The deployer's trigger file is a link to a secret, a device, a FIFO, or has a hostile note or release."""
    with site(open_path, trigger_file="shared/trigger") as one, Clock(one) as clock:
        (open_path / "shared").mkdir()
        give(open_path / "shared")
        trigger, secret = open_path / "shared" / "trigger", secret_of_root(open_path)
        for kind in TRICKS:
            trick(one, kind, trigger, secret, user=STRANGER)
            time.sleep(0.3)
        for device in ("/dev/zero", "/proc/self/environ", "/proc/self/fd/0", str(trigger)):
            trick(one, "symlink", trigger, device, user=STRANGER)
            time.sleep(0.3)
        for release in ("/etc", "../../../etc", "b"):
            since = len(one.agent.events())
            trick(one, "note", trigger, release, user=STRANGER)
            one.agent.decision(since)
        since = len(one.agent.events())
        one.agent.flip("b")
        assert one.agent.decision(since)["event"] == "deploy.succeeded"
        written = [*one.agent.state_dir.glob("*.json*"), one.agent.output_file]
        text = "".join(file.read_text(errors="replace") for file in written)
        assert SECRET not in text
        lines = [line.strip("\x00") for line in text.splitlines()]  # a reserved file ends with nulls
        assert [line for line in lines if any(char in line for char in "\x1b\x00\u202e")] == []
        assert one.get() == str(one.agent.status()["live"])
    assert clock.errors == []
    assert clock.worst_seconds < 5
    record_property("got", f"nothing of the secret in any report; {clock}")
