"""How much of a root agent's memory and time other accounts and its app may take: measured on real agents."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rainbowd.api.server import CONNECTIONS_MAX
from tests import accounts
from tests.accounts import USER, account, needs_root
from tests.live.agent import free_port
from tests.live.api import Caller
from tests.security.site import HERE, Site, Visitor, eventually, site

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.live, pytest.mark.long, needs_root]

TOKENS = 8500
HEAD_BYTES = 60_000
MORE_MIB = 64
"""What an agent may keep after a flood of heads."""
ENVIRONMENT_PROCESSES = 40
READ_MIB = 32
"""What an agent may read during a deploy, with /proc; the environments are 228 MB."""
FILES = 200_000
ANSWERS_LEAST = 5
FLOODERS = 16
VISITS = 30
CALLS = 20
FLOOD_MIB_A_VISIT = 4
"""How much of a flood the agent may take in, on average, for one request of somebody else."""


def resident_mib(one: Site) -> float:
    """Return what the agent holds in memory, in MiB: proc_pid_status(5)."""
    assert one.agent.process is not None
    status = Path(f"/proc/{one.agent.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def read_mib(one: Site) -> float:
    """Return how much the agent has read with read(2), in MiB: rchar of proc_pid_io(5)."""
    assert one.agent.process is not None
    io = Path(f"/proc/{one.agent.process.pid}/io").read_text()
    return int(io.partition("rchar:")[2].split()[0]) / 2**20


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
        with Visitor(one) as visitor:
            since, before = len(one.agent.events()), read_mib(one)
            assert one.deploy("b")["event"] == "deploy.succeeded"
            one.agent.wait_for("generation.retired", since, generation=1)
            read = read_mib(one) - before
            visitor.is_served()
    assert read < READ_MIB
    record_property("got", f"deployed and retired; the agent has read {read:.0f} MiB; {visitor}")


def test_an_app_with_many_files_holds_up_no_request(open_path: Path, record_property: Record) -> None:
    """The app makes 200,000 files in its own directory, and its generation is retired."""
    with site(open_path) as one:
        first = one.agent.state_dir / "generation-1"
        script = "import os, sys\nfor n in range(int(sys.argv[2])): os.close(os.open(f'{sys.argv[1]}/{n}', os.O_CREAT))"
        filler = one.attack(accounts.python(), "-c", script, str(first), str(FILES), user=USER)
        assert filler.wait(120) == 0
        assert sum(1 for _ in first.iterdir()) >= FILES
        assert first.stat().st_uid == account().uid
        with Visitor(one) as visitor:
            since, made = len(one.agent.events()), first.stat().st_mtime_ns
            assert one.deploy("b")["event"] == "deploy.succeeded"
            eventually(lambda: not first.exists() or first.stat().st_mtime_ns != made, "the first removal")
            before = visitor.answered
            eventually(lambda: not first.exists(), "the last removal")
            during = visitor.answered - before
            one.agent.wait_for("generation.retired", since, generation=1)
            visitor.is_served()
    assert during >= ANSWERS_LEAST
    record_property("got", f"{during} requests answered during the removal, {visitor}")


@pytest.mark.parametrize("chunk", ["1\r\nx\r\n", "1;extension=long\r\nx\r\n"], ids=["plain", "with extensions"])
def test_a_flood_of_one_byte_chunks_leaves_others_their_turn(
    open_path: Path, chunk: str, record_property: Record
) -> None:
    """16 clients upload chunks of one byte, as fast as the agent takes them."""
    with site(open_path) as one:
        script = str(shutil.copy(HERE / "flooder.py", open_path))
        words = [accounts.python(), script, one.agent.host, str(one.agent.port), chunk]
        flooders = [one.attack(*words) for _ in range(FLOODERS)]
        for flooder in flooders:
            assert flooder.stdout is not None
            assert flooder.stdout.readline() == "floods\n"
        for _ in range(VISITS):
            assert one.get() == "1"
        for flooder in flooders:
            flooder.terminate()
        flood_mib = sum(int(flooder.communicate(timeout=30)[0]) for flooder in flooders) / 2**20
    assert 0 < flood_mib < VISITS * FLOOD_MIB_A_VISIT
    record_property("got", f"{VISITS} requests of others answered during {flood_mib:.1f} MiB of the flood")


def test_silent_connections_to_the_api_do_not_keep_out_a_caller(open_path: Path, record_property: Record) -> None:
    """A stranger opens silent connections to the API all the time, more than it holds."""
    port = free_port()
    with site(open_path, api={"enabled": True, "listen": f"127.0.0.1:{port}"}) as one:
        caller = Caller(one.agent, port)
        caller.until_it_listens()
        script = str(shutil.copy(HERE / "silent.py", open_path))
        stranger = one.attack(accounts.python(), script, "127.0.0.1", str(port), str(2 * CONNECTIONS_MAX))
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "silent\n"
        for _ in range(CALLS):
            assert caller.call("GET", "/status").status == 200
        stranger.terminate()
        opened = int(stranger.communicate(timeout=30)[0])
        assert opened > 2 * CONNECTIONS_MAX, "it went on while the calls were made"
        record_property("got", f"{CALLS} calls answered while {opened} silent connections were opened")
