from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from rainbowd.deploy.process.launches import Launch
from rainbowd.deploy.process.procfs import read_command, read_entry
from rainbowd.deploy.process.survivors import check_foreign, keep_survivors, name_process, survivors, why_foreign
from rainbowd.errors import DeployFailed
from rainbowd.permissions import user_name

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as one:
        yield one
        one.kill()


def test_what_could_not_be_ended_is_known_until_it_is_gone(process: subprocess.Popen[bytes]) -> None:
    entry = read_entry(process.pid)
    assert entry is not None
    why = keep_survivors([entry], Launch(frozenset({os.getuid()}), 0))
    me = user_name(os.getuid())
    assert why.startswith(f"pid {process.pid}, `sleep 1000`, of user {me}: still there after SIGKILL")
    assert survivors() == [f"pid {process.pid}, `sleep 1000`, of user {me}"]
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert survivors() == []


def test_a_process_of_another_account_is_reported_as_such(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = read_entry(process.pid)
    assert entry is not None
    launch = Launch(frozenset({os.getuid() + 1}), 0)
    assert 'set "user" instead of sudo' in why_foreign() or os.getuid()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert keep_survivors([entry], launch).endswith('rainbowd as root with "user", not sudo in "run"')
    assert "rainbowd runs as 12345 and may not signal it" in why_foreign()


@pytest.fixture
def ten_processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    ten = [subprocess.Popen(["sleep", "1000"]) for _ in range(10)]
    yield ten
    for one in ten:
        one.kill()
        one.wait()


def test_ten_processes_of_another_account_allow_no_further_launch_until_one_is_gone(
    ten_processes: list[subprocess.Popen[bytes]],
) -> None:
    launch = Launch(frozenset({os.getuid() + 1}), 0)
    entries = [entry for one in ten_processes if (entry := read_entry(one.pid)) is not None]
    keep_survivors(entries[:9], launch)
    check_foreign()
    keep_survivors(entries[9:], launch)
    with pytest.raises(DeployFailed, match=f"10 processes that earlier launches left .*: kill .*{entries[9].pid}"):
        check_foreign()
    ten_processes[0].kill()
    ten_processes[0].wait()
    check_foreign()


def test_processes_that_hang_in_the_kernel_do_not_prevent_a_launch(
    ten_processes: list[subprocess.Popen[bytes]],
) -> None:
    entries = [entry for one in ten_processes if (entry := read_entry(one.pid)) is not None]
    keep_survivors(entries, Launch(frozenset({os.getuid()}), 0))
    assert len(survivors()) == 10
    check_foreign()


def test_without_survivors_there_is_no_text() -> None:
    assert keep_survivors([], Launch(frozenset(), 0)) == ""


def test_a_long_command_is_cut_and_a_process_that_is_gone_is_its_number() -> None:
    with subprocess.Popen(["sleep", "1000", *["1" * 20] * 9]) as one:
        while not read_command(one.pid).startswith("sleep 1000"):  # execve may not have returned
            pass
        name = name_process(one.pid)
        one.kill()
    assert "…`" in name
    assert len(name) < 120
    assert name_process(one.pid) == f"pid {one.pid}"
