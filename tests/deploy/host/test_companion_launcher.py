"""Companion processes of this machine, launched for real."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.config import validate
from rainbowd.deploy.companion_interfaces import Instance
from rainbowd.deploy.companion_record import CompanionRecord
from rainbowd.deploy.host.companion_launcher import LinuxCompanionLauncher
from rainbowd.deploy.host.stored_companions import StoredCompanions
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.deploy.process import read_entry
from rainbowd.deploy.process.usage import read_usage
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORKER = Instance("worker", 2)
COUNTS_SIGNALS = 'trap "echo asked" TERM; echo ready; while :; do sleep 0.05; done'


class Machine:
    """A state directory, a release, and what the companion processes have written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state_dir = directory / "state"
        self.state_dir.mkdir()
        self.lines: list[tuple[int, str, str]] = []
        self.wrote = trio.Event()

    def launcher(self) -> LinuxCompanionLauncher:
        """Return the launcher of a new agent."""
        stored = StoredCompanions(self.state_dir, self.directory / "rainbowd.json")
        return LinuxCompanionLauncher(self.state_dir, stored, soft_limit=1024, app_sink=self._log, store=self._store)

    def plan(self, run: object, **keys: object) -> LaunchPlan:
        source: dict[str, Any] = {
            "run": "app",
            "warmup": 0,
            "env": {"SHOP": "open"},
            "processes": {"worker": {"run": run, "instances": 3, **keys}},
        }
        config = validate(source, self.directory / "rainbowd.json").config
        return LaunchPlan(self.directory, config, {"SECRET": "s"}, source)

    async def line(self, wanted: str) -> None:
        """Wait until a process has written a line."""
        while all(line != wanted for _, line, _ in self.lines):
            self.wrote = trio.Event()
            with trio.fail_after(20):
                await self.wrote.wait()

    def files(self) -> list[str]:
        return sorted(path.name for path in self.state_dir.iterdir())

    def _log(self, generation: int, line: str, process: str = "") -> None:
        self.lines.append((generation, line, process))
        self.wrote.set()

    def _store(self, name: str, encode: Callable[[], bytes] | None) -> None:
        file = self.state_dir / name
        if encode is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(encode())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_it_runs_in_its_release_and_knows_which_process_it_is(machine: Machine) -> None:
    script = 'echo "$RAINBOWD_PROCESS $RAINBOWD_INSTANCE $RAINBOWD_GENERATION $SHOP $SECRET $MORE ${PORT-none} $(pwd)"'
    plan = machine.plan(script, env={"MORE": "{generation}"})
    async with machine.launcher().launch_companion(plan, 7, WORKER, restarts=0, stop_now=trio.Event()) as process:
        process.open_gate()
        assert await process.ended() == 0
        await process.end(trio.Event())
    assert machine.lines == [(7, f"worker 2 7 open s 7 none {machine.directory}", "worker.2")]
    assert machine.files() == []


async def test_nothing_of_it_runs_before_its_record_is_written(machine: Machine) -> None:
    plan = machine.plan("echo ran")
    async with machine.launcher().launch_companion(plan, 7, WORKER, restarts=4, stop_now=trio.Event()) as process:
        (file,) = machine.state_dir.glob("*.json")
        record = CompanionRecord.decode(file.read_bytes())
        assert (record.name, record.instance, record.owner, record.restarts) == ("worker", 2, 7, 4)
        assert record.identity.pid == process.pid
        (plan_file,) = machine.state_dir.glob("*.plan")
        assert plan_file.stat().st_mode & 0o777 == 0o600
        await process.end(trio.Event())
    assert machine.lines == []


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (["no-such-program"], "processes.worker.run: command not found: no-such-program"),
        (["./rainbowd.json"], "processes.worker.run: not executable"),
    ],
)
async def test_a_command_that_cannot_run_is_named_by_its_key(machine: Machine, run: list[str], problem: str) -> None:
    (machine.directory / "rainbowd.json").touch()
    with pytest.raises(DeployFailed, match=problem):
        async with machine.launcher().launch_companion(machine.plan(run), 7, WORKER, restarts=0, stop_now=trio.Event()):
            pytest.fail("it was launched")
    assert machine.files() == []


async def test_one_that_ignores_the_signal_is_killed_with_everything_that_it_started(machine: Machine) -> None:
    plan = machine.plan(
        "trap '' TERM; (setsid sleep 1000 & echo $! >forked; wait) & while [ ! -s forked ]; do sleep 0.05; done; "
        "echo ready; while :; do sleep 0.05; done",
        stop={"kill_after": 0.2},
    )
    async with machine.launcher().launch_companion(plan, 7, WORKER, restarts=0, stop_now=trio.Event()) as process:
        process.open_gate()
        await machine.line("ready")
        report = await process.end(trio.Event())
    assert report.killed
    assert report.left == []
    assert read_entry(int((machine.directory / "forked").read_text())) is None


async def test_the_next_agent_takes_it_over_and_it_never_gets_a_second_signal(machine: Machine) -> None:
    plan = machine.plan(COUNTS_SIGNALS, stop={"kill_after": 1})
    async with machine.launcher().launch_companion(plan, 7, WORKER, restarts=1, stop_now=trio.Event()) as process:
        process.open_gate()
        await machine.line("ready")
        process.belong_to(8)
        assert set(read_usage()) == {8}
        with trio.move_on_after(10) as killed:  # the agent is killed while it waits for the end
            async with trio.open_nursery() as nursery:
                nursery.start_soon(process.end, trio.Event())
                await machine.line("asked")
                killed.cancel()
        process.leave()
    launcher = machine.launcher()
    (recorded,) = launcher.recorded_companions()
    assert (recorded.instance, recorded.generation_id, recorded.restarts) == (WORKER, 8, 1)
    assert recorded.asked_for_seconds is not None
    assert recorded.plan.config == plan.config
    async with launcher.adopt_companion(recorded) as adopted:
        assert adopted.pid == process.pid
        assert set(read_usage()) == {8}
        report = await adopted.end(trio.Event())
        assert report.killed
    assert [line for _, line, _ in machine.lines].count("asked") == 1
    assert machine.files() == []


async def test_a_daemon_is_followed_by_its_pidfile(machine: Machine) -> None:
    daemon = 'sh -c "echo \\$\\$ >$2; echo ready; exec sleep 1000" & exit 0'
    plan = machine.plan(daemon, stop={"kill_after": 5})
    async with machine.launcher().launch_companion(plan, 7, WORKER, restarts=0, stop_now=trio.Event()) as process:
        process.open_gate()
        await machine.line("ready")
        with trio.fail_after(20):
            main = await process.main_changed(process.pid)
        assert main != process.pid
        os.kill(main, signal.SIGKILL)
        with trio.fail_after(20):
            await process.ended()
        await process.end(trio.Event())


def _spoil_boot(fields: dict[str, Any]) -> None:
    fields["identity"]["boot_id"] = "another"


def _spoil_directory(fields: dict[str, Any]) -> None:
    fields["identity"]["state_dir"] = "/elsewhere"


def _spoil_name(fields: dict[str, Any]) -> None:
    fields["name"] = "unknown"


@pytest.mark.parametrize("spoil", [_spoil_boot, _spoil_directory, _spoil_name])
async def test_a_record_that_is_not_of_this_boot_directory_or_config_is_ignored(
    machine: Machine, spoil: Callable[[dict[str, Any]], None]
) -> None:
    plan = machine.plan("sleep 1000")
    async with machine.launcher().launch_companion(plan, 7, WORKER, restarts=0, stop_now=trio.Event()) as process:
        (file,) = machine.state_dir.glob("*.json")
        fields = json.loads(file.read_text())
        spoil(fields)
        file.write_text(json.dumps(fields))
        assert machine.launcher().recorded_companions() == []
        await process.end(trio.Event())


async def test_only_files_that_an_earlier_agent_left_are_cleared(machine: Machine) -> None:
    for name in ("generation-3-worker.1-0123abcd.out", "generation-3-worker.1-0123abcd.json.new"):
        (machine.state_dir / name).write_bytes(b"")
    stored = StoredCompanions(machine.state_dir, machine.directory / "rainbowd.json")
    assert stored.read() == []
    plan = machine.plan("sleep 1000")
    async with machine.launcher().launch_companion(plan, 7, WORKER, restarts=0, stop_now=trio.Event()) as process:
        before = machine.files()
        await trio.to_thread.run_sync(stored.clear_stale)
        assert machine.files() == [name for name in before if "0123abcd" not in name]
        (recorded,) = machine.launcher().recorded_companions()
        assert recorded.instance == WORKER
        await process.end(trio.Event())


async def test_after_the_state_directory_was_removed_the_next_agent_still_finds_it(machine: Machine) -> None:
    plan = machine.plan("echo started; while [ ! -e go ]; do sleep 0.05; done; echo went on; sleep 1000")
    first = machine.launcher()
    async with first.launch_companion(plan, 7, WORKER, restarts=2, stop_now=trio.Event()) as process:
        process.open_gate()
        await machine.line("started")
        shutil.rmtree(machine.state_dir)
        machine.state_dir.mkdir()
        first.store_again()
        process.leave()
    second = machine.launcher()
    (recorded,) = second.recorded_companions()
    assert (recorded.instance, recorded.generation_id, recorded.restarts) == (WORKER, 7, 2)
    assert recorded.plan.config == plan.config
    async with second.adopt_companion(recorded) as adopted:
        assert adopted.pid == process.pid
        (machine.directory / "go").touch()
        await machine.line("went on")
        shutil.rmtree(machine.state_dir)
        machine.state_dir.mkdir()
        second.store_again()
        assert [one.launch for one in machine.launcher().recorded_companions()] == [recorded.launch]
        await adopted.end(trio.Event())
    assert machine.files() == []
