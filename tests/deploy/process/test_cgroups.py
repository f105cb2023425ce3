from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.deploy.process import ExitReport, LaunchMarks, ProcessTree, cgroups
from rainbowd.deploy.process.procfs import MARK, read_entry
from tests.cgroups import delegated_cgroup, groups_in, inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.process.conftest import Launcher

ESCAPE = """
import os, sys, time
from pathlib import Path

group = Path(sys.argv[1] + Path("/proc/self/cgroup").read_text().partition("0::")[2].split("\\n")[0])
if not os.fork():
    os.setsid()
    if sys.argv[2] == "below":
        (group / "a" / "b").mkdir(parents=True)
        (group / "a" / "b" / "cgroup.procs").write_text("0")
    if not os.fork():
        sleep = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
        os.execve(sys.executable, ["escaped", "-S", "-c", sleep], {})
    os._exit(0)
os.wait()
time.sleep(1000)
"""
"""Starts a process that only its group leads to, or a group below that."""


async def end(process: ProcessTree) -> ExitReport:
    return await process.end(signal=signal.SIGTERM, kill_after_seconds=30, stop_now=trio.Event())


@pytest.fixture
def delegated(tmp_path: Path) -> Iterator[Path]:
    with delegated_cgroup(tmp_path) as cgroup:
        yield cgroup


async def test_without_delegation_a_launch_has_no_group(launch: Launcher, delegated: Path) -> None:
    os.removexattr(delegated, "trusted.delegate")
    with inside(delegated):
        process = launch("sleep", "1000")
    assert process.marks.cgroup is None
    assert groups_in(delegated) == []
    await end(process)


async def test_a_group_that_does_not_contain_the_agent_is_not_used(launch: Launcher, delegated: Path) -> None:
    process = launch("sleep", "1000")
    assert process.marks.cgroup is None
    assert groups_in(delegated) == []
    await end(process)


@pytest.mark.parametrize("where", ["same", "below"])
async def test_a_process_that_only_its_group_leads_to_is_found_and_ended(
    launch: Launcher, delegated: Path, where: str
) -> None:
    other = launch("sleep", "1000")  # so that two launches could have left an orphan
    with inside(delegated):
        process = launch(sys.executable, "-S", "-c", ESCAPE, str(delegated.parent), where)
    escaped = int(await launch.line())
    process.launch.known.clear()
    assert groups_in(delegated) == [f"generation-2-{process.pid}"]
    assert set(await process.members()) == {process.pid, escaped}
    assert (await end(process)).left == []
    await end(other)
    assert read_entry(escaped) is None
    assert groups_in(delegated) == []


async def test_a_process_that_anothers_daemon_starts_with_a_mark_belongs_to_the_launch_of_the_mark(
    launch: Launcher, delegated: Path
) -> None:
    client = launch("sleep", "1000")
    script = f"{MARK}={client.marks.secret} sh -c 'echo $$; exec sleep 1000' & wait"
    with inside(delegated):
        daemon = launch("sh", "-c", script)
    helper = int(await launch.line())
    assert await client.members() == [client.pid, helper]
    assert await daemon.members() == [daemon.pid]
    await end(daemon)
    assert await client.members() == [client.pid, helper]
    await end(client)


async def test_a_later_agent_finds_it_too(launch: Launcher, delegated: Path) -> None:
    other = launch("sleep", "1000")
    with inside(delegated):
        process = launch(sys.executable, "-S", "-c", ESCAPE, str(delegated.parent), "same")
    escaped = int(await launch.line())
    process.hand_over()
    marks = LaunchMarks.from_fields(process.marks.to_fields())
    assert marks == process.marks
    adopted = ProcessTree.found(process.identity, marks, {})
    assert set(await adopted.members()) == {process.pid, escaped}
    assert (await end(adopted)).left == []
    await end(other)
    assert read_entry(escaped) is None
    assert groups_in(delegated) == []


def test_a_group_that_no_longer_exists_is_empty(tmp_path: Path) -> None:
    assert list(cgroups.read_cgroup(tmp_path / "gone")) == []
    cgroups.remove_cgroup(tmp_path / "gone")


async def test_groups_that_a_killed_agent_left_are_removed_when_they_are_empty(
    launch: Launcher, delegated: Path
) -> None:
    with inside(delegated):
        process = launch("sleep", "1000")
        kept = [f"generation-1-{process.pid}", "generation-1-x", "others"]
        left = ["generation-1-999999999", "generation-0-before_launch-999999999", "generation-7-999999999/below"]
        left += ["generation-1-mail-Worker_2.1-999999999"]
        for name in (*kept[1:], *left):
            (delegated / name).mkdir(parents=True)
        cgroups.remove_left_cgroups()
        assert groups_in(delegated) == sorted(kept)
        for name in kept[1:]:
            (delegated / name).rmdir()
    await end(process)


def test_without_delegation_no_group_is_removed() -> None:
    cgroups.remove_left_cgroups()
