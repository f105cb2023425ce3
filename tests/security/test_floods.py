"""How much of a root agent's memory and time other accounts and its app may take: measured on real agents."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import string
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import accounts
from tests.accounts import USER, account, needs_root
from tests.security.test_processes import HERE, Site, eventually, site
from tests.security.test_tricks import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, needs_root]

TOKENS = 8500
HEAD_BYTES = 60_000
MORE_MIB = 64
"""What an agent may keep after a flood of heads."""
ENVIRONMENT_PROCESSES = 40
RETIRE_SECONDS = 15
FILES = 200_000


def resident_mib(one: Site) -> float:
    """Return what the agent holds in memory, in MiB: proc_pid_status(5)."""
    assert one.agent.process is not None
    status = Path(f"/proc/{one.agent.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def send_head(one: Site, field: str) -> None:
    """Send a request with one more field on a connection of its own, and wait for an answer or its end."""
    with contextlib.suppress(ConnectionError), socket.create_connection((one.agent.host, one.agent.port), 20) as stream:
        stream.sendall(f"GET / HTTP/1.1\r\nHost: a\r\n{field}\r\nConnection: close\r\n\r\n".encode())
        while stream.recv(65536):
            pass


def token_lists() -> list[str]:
    """Return 300 fields with different long lists of connection options: RFC 9110 section 7.6.1."""
    words = ("".join(letters) for letters in itertools.cycle(itertools.product(string.ascii_lowercase, repeat=5)))
    return [f"Connection: close,{','.join(itertools.islice(words, TOKENS))}" for _ in range(300)]


def long_names() -> list[str]:
    """Return 1500 fields with different long names."""
    return [f"x{number}{'n' * HEAD_BYTES}: 1" for number in range(1500)]


@pytest.mark.parametrize("fields", [token_lists, long_names], ids=lambda fields: fields.__name__)
def test_a_flood_of_large_heads_leaves_little_in_memory(
    open_path: Path, fields: Callable[[], list[str]], record_property: Record
) -> None:
    """A client sends 300 lists of 8500 connection options, or 1500 names of 60 KB."""
    with site(open_path) as one:
        one.get()
        before = resident_mib(one)
        for field in fields():
            send_head(one, field)
        after = resident_mib(one)
        assert one.get() == "1"
        assert after < before + MORE_MIB
        record_property("got", f"resident {before:.0f} MiB before and {after:.0f} MiB after")


def test_large_environments_of_others_hold_up_no_deploy(open_path: Path, record_property: Record) -> None:
    """A stranger runs 40 processes with an environment of 5.7 MB of nulls during a deploy."""
    with site(open_path) as one:
        script = str(shutil.copy(HERE / "crammed.py", open_path))
        crammed = [one.attack(accounts.python(), "-S", script) for _ in range(ENVIRONMENT_PROCESSES)]
        for process in crammed:
            assert process.stdout is not None
            assert process.stdout.readline() == "crammed\n"
        with Clock(one) as clock:
            since = len(one.agent.events())
            begun_at = time.monotonic()
            assert one.deploy("b")["event"] == "deploy.succeeded"
            live_at = time.monotonic()
            one.agent.wait_for("generation.retired", since, generation=1)
            retired_at = time.monotonic()
    assert clock.errors == []
    assert retired_at - live_at < RETIRE_SECONDS
    record_property(
        "got", f"live after {live_at - begun_at:.2f} s, retired {retired_at - live_at:.2f} s later; {clock}"
    )


def test_an_app_with_many_files_holds_up_no_request(open_path: Path, record_property: Record) -> None:
    """The app makes 200,000 files in its own directory, and its generation is retired."""
    with site(open_path) as one:
        first = one.agent.state_dir / "generation-1"
        script = "import os, sys\nfor n in range(int(sys.argv[2])): os.close(os.open(f'{sys.argv[1]}/{n}', os.O_CREAT))"
        filler = one.attack(accounts.python(), "-c", script, str(first), str(FILES), user=USER)
        assert filler.wait(120) == 0
        assert sum(1 for _ in first.iterdir()) >= FILES
        assert first.stat().st_uid == account().uid
        with Clock(one) as clock:
            begun_at = time.monotonic()
            assert one.deploy("b")["event"] == "deploy.succeeded"
            eventually(lambda: not first.exists(), "the removal")
            seconds = time.monotonic() - begun_at
    assert clock.errors == []
    assert clock.worst_seconds < 2
    record_property("got", f"deployed and removed after {seconds:.1f} s; {clock}")
