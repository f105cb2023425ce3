from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rainbowd
from rainbowd.cli.status_watch import _ENTER, _LEAVE, POLL_SECONDS, cut
from rainbowd.report.journal import NAME, Journal, encode
from rainbowd.report.lock import Lock
from rainbowd.report.palette import foreground
from rainbowd.report.state_dir import prepare
from rainbowd.report.status import write

if TYPE_CHECKING:
    from collections.abc import Iterator

AT = "2026-11-23T10:00:00.000Z"


class Site:
    """A config, and this process as its agent."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "rainbowd.json"
        self.config.write_text('{"state_dir": "state"}')
        self.state_dir = directory / "state"
        prepare(self.state_dir)
        self.lock = Lock.acquire(self.state_dir)

    def tell(self, *numbers: int, requests: int = 0) -> None:
        agent = {"pid": os.getpid(), "version": "1", "started_at": AT, "listen": [], "state": "ready"}
        generations = [
            {
                "id": number,
                "state": "live",
                "release": str(self.directory),
                "address": "127.0.0.1:20000",
                "pid": number,
                "started_at": AT,
                "live_at": AT,
                "in_flight": 0,
                "tunnels": 0,
                "requests": requests,
            }
            for number in numbers
        ]
        live = numbers[-1] if numbers else None
        told = {"agent": agent, "live": live, "wanted": None, "last_deploy": None, "generations": generations}
        write(self.state_dir, told)

    def watch(self, *words: str, stdout: int = subprocess.PIPE, terminal: str = "xterm") -> subprocess.Popen[bytes]:
        root = str(Path(rainbowd.__file__).parents[1])
        return subprocess.Popen(
            [sys.executable, "-m", "rainbowd", "status", "--watch", "--config", str(self.config), *words],
            env={**os.environ, "PYTHONPATH": root, "NO_COLOR": "", "COLORTERM": "", "TERM": terminal},
            stdout=stdout,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.lock.release()


class Terminal:
    """A terminal, and all that was written to it."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.text = ""

    def until(self, shown: str) -> None:
        while shown not in self.text:
            self.text += os.read(self._ours, 65536).decode()

    def rest(self) -> str:
        os.close(self.theirs)
        with contextlib.suppress(OSError):  # EIO: nobody writes any more
            while True:
                self.text += os.read(self._ours, 65536).decode()
        os.close(self._ours)
        return self.text


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_terminal_shows_each_generation_in_its_colour_and_is_left_as_it_was(
    site: Site, signum: signal.Signals, status: int
) -> None:
    site.tell(1)
    terminal = Terminal()
    with site.watch(stdout=terminal.theirs) as watching:
        terminal.until(foreground(1, is_true_colour=False))
        site.tell(1, 2)
        terminal.until(foreground(2, is_true_colour=False))
        watching.send_signal(signum)
        assert watching.stderr is not None
        assert watching.stderr.read() == b""
        assert watching.wait() == status
    text = terminal.rest()
    assert text.startswith(_ENTER)
    assert text.endswith(_LEAVE)


def test_a_terminal_without_escapes_gets_none(site: Site) -> None:
    site.tell(1)
    terminal = Terminal()
    with site.watch(stdout=terminal.theirs, terminal="dumb") as watching:
        terminal.until("127.0.0.1:20000")
        watching.send_signal(signal.SIGINT)
        assert watching.wait() == 0
    assert "\x1b" not in terminal.rest()


def test_a_terminal_waits_for_an_agent_that_has_exited(site: Site) -> None:
    site.tell(1)
    terminal = Terminal()
    with site.watch(stdout=terminal.theirs) as watching:
        terminal.until("127.0.0.1:20000")
        site.lock.release()
        terminal.until("no agent is running")
        site.lock = Lock.acquire(site.state_dir)
        site.tell(7)
        terminal.until(foreground(7, is_true_colour=False))
        watching.send_signal(signal.SIGINT)
        assert watching.wait() == 0
    terminal.rest()


def test_a_terminal_shows_the_events_below_the_status(site: Site) -> None:
    site.tell(1)
    journal = Journal(site.state_dir / NAME)
    journal.append(encode("generation.live", datetime.now(UTC), generation=1, release="/srv/a"))
    terminal = Terminal()
    with site.watch(stdout=terminal.theirs) as watching:
        terminal.until(f"\x1b[{foreground(1, is_true_colour=False)}mgeneration 1 is live: new requests go to it")
        journal.append(encode("deploy.failed", datetime.now(UTC), release="/srv/b", reason="an \x1b[2J"))
        terminal.until("\x1b[31mthe deploy of b failed: an \\x1b[2J")
        watching.send_signal(signal.SIGINT)
        assert watching.wait() == 0
    terminal.rest()


def test_a_pipe_gets_a_line_for_each_change_until_the_agent_has_exited(site: Site) -> None:
    site.tell(1)
    with site.watch("--json") as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["live"] == 1
        site.tell(1, 2)
        assert json.loads(watching.stdout.readline())["live"] == 2
        site.lock.release()
        assert watching.wait() == 3
        assert watching.stdout.read() == b""


def test_a_pipe_for_people_gets_no_table_for_a_counter(site: Site) -> None:
    site.tell(1, requests=1)
    with site.watch() as watching:
        assert watching.stdout is not None
        while not watching.stdout.readline().isspace():
            pass
        for requests in (2, 3):
            site.tell(1, requests=requests)
            time.sleep(2 * POLL_SECONDS)
        site.tell(1, 2, requests=4)
        table = [watching.stdout.readline() for _ in range(4)]
        assert [line.split()[-2] for line in table[2:]] == [b"4", b"4"], table
        site.lock.release()
        assert watching.wait() == 3


def test_without_an_agent_there_is_nothing_to_watch(site: Site) -> None:
    site.lock.release()
    with site.watch() as watching:
        out, err = watching.communicate()
    assert (watching.returncode, out) == (3, b"")
    assert b"no agent is running" in err


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("", ""),
        ("0123456789", "0123456789"),
        ("0123456789a", "0123456..."),
        ("\x1b[31m0123456789\x1b[0m", "\x1b[31m0123456789\x1b[0m"),
        ("\x1b[31m0123456\x1b[0m789ab", "\x1b[31m0123456\x1b[0m..."),
        ("012345678\x1b[31m9abc\x1b[0m", "0123456...\x1b[31m\x1b[0m"),
    ],
)
def test_a_line_that_is_too_long_shows_that_it_is_cut_and_ends_its_colours(line: str, shown: str) -> None:
    assert cut(line, 10) == shown
