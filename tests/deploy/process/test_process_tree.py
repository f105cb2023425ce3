from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.deploy.process import ExitReport, LaunchMarks, ProcessIdentity, ProcessTree, ending, process_tree
from rainbowd.deploy.process.process_identity import boot_id
from rainbowd.deploy.process.procfs import ProcessInfo, read_entry, read_table, send_signal
from rainbowd.deploy.process.reaper import reserved_children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.process.conftest import Launcher

pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")

LONG = 1000.0
SHORT = 0.2

TERM = signal.SIGTERM
TERMINATED, KILLED = -signal.SIGTERM, -signal.SIGKILL

READY = ("sh", "-c", "echo ready; exec sleep 1000")
STUBBORN = ("sh", "-c", "trap '' TERM; echo ready; sleep 1000; sleep 1000")

DAEMON = """
import os, signal, sys
command = sys.argv[2:]
pidfile = sys.argv[1]
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
if pidfile:
    with open(pidfile, "w") as file: print(os.getpid(), file=file)
print(os.getpid(), flush=True)
os.execvp(command[0], command)
"""
"""A daemon by the book: it leaves its parent, its session and its group."""


def daemon(pidfile: Path | None, *command: str) -> tuple[str, ...]:
    """Print a number and run ``command`` as that process, a daemon."""
    return (sys.executable, "-S", "-c", DAEMON, str(pidfile or ""), *command)


async def end(
    process_tree: ProcessTree, *, kill_after: float = LONG, stop_now: trio.Event | None = None, signum: int = TERM
) -> ExitReport:
    with trio.fail_after(60):
        return await process_tree.end(
            signal=signum, kill_after_seconds=kill_after, stop_now=trio.Event() if stop_now is None else stop_now
        )


def hurried() -> trio.Event:
    event = trio.Event()
    event.set()
    return event


@contextmanager
def stranger() -> Iterator[ProcessInfo]:
    """A process that no generation has anything to do with: somebody else's child."""
    shell = ["sh", "-c", "sleep 1000 & echo $!; wait"]
    with subprocess.Popen(shell, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        entry = read_entry(int(parent.stdout.readline()))
        assert entry is not None
        try:
            yield entry
        finally:
            send_signal(entry, signal.SIGKILL)


def is_alive(entry: ProcessInfo) -> bool:
    now = read_entry(entry.pid)
    return now is not None and not now.ended and now.start_time == entry.start_time


# --- the child ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -USR1 $$", -10)])
async def test_the_exit_status_is_known_once_the_child_has_ended(launch: Launcher, command: str, status: int) -> None:
    app = launch("sh", "-c", command)
    assert await app.wait() == status
    assert app.exit_status == status
    assert not app.is_alive
    assert await app.wait() == await app.ended() == status
    assert await end(app) == ExitReport(status, killed=False, left=[])


async def test_any_number_of_tasks_wait_for_one_process(launch: Launcher) -> None:
    app = launch(*READY)
    await launch.line()
    told: list[int | None] = []
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                told.append(await app.wait())

            async def ended() -> None:
                told.append(await app.ended())

            for _ in range(5):
                nursery.start_soon(wait)
                nursery.start_soon(ended)
            await trio.testing.wait_all_tasks_blocked()
            assert app.is_alive
            assert app.exit_status is None
            assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])
    assert told == [TERMINATED] * 10


async def test_waiting_can_be_cancelled_and_begun_again(launch: Launcher) -> None:
    app = launch(*READY)
    with trio.move_on_after(0) as scope:
        await app.wait()
    assert scope.cancelled_caught
    app.signal(signal.SIGKILL)
    assert await app.wait() == KILLED
    app.signal(signal.SIGKILL)


# --- the end --------------------------------------------------------------------------------------------------------


async def test_the_drain_signal_ends_a_process_that_obeys(launch: Launcher) -> None:
    app = launch("sh", "-c", "trap 'echo told; exit 3' USR2; echo ready; while :; do sleep 0.02; done")
    await launch.line()
    assert await end(app, signum=signal.SIGUSR2) == ExitReport(3, killed=False, left=[])
    assert launch.rest().count("told") == 1


async def test_a_process_that_ignores_the_signal_is_killed_when_its_time_is_over(launch: Launcher) -> None:
    app = launch(*STUBBORN)
    await launch.line()
    assert await end(app, kill_after=SHORT) == ExitReport(KILLED, killed=True, left=[])


async def test_a_process_without_any_time_is_killed_at_once(launch: Launcher) -> None:
    app = launch(*STUBBORN)
    await launch.line()
    assert (await end(app, kill_after=0)).killed


async def test_stop_now_kills_at_once(launch: Launcher) -> None:
    app = launch(*STUBBORN)
    await launch.line()
    assert await end(app, stop_now=hurried()) == ExitReport(KILLED, killed=True, left=[])


async def test_stop_now_kills_a_process_that_still_has_time(launch: Launcher) -> None:
    app = launch("sh", "-c", "trap 'echo told' TERM; echo ready; while :; do sleep 0.02; done")
    await launch.line()
    stop_now = trio.Event()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def hurry_when_told() -> None:
            assert await launch.line() == "told"
            stop_now.set()

        assert await end(app, stop_now=stop_now) == ExitReport(KILLED, killed=True, left=[])


async def test_a_process_can_be_ended_before_its_gate_opens(launch: Launcher) -> None:
    app = launch("touch", "ran", is_open=False)
    report = await end(app)
    assert report.exit_status in {1, TERMINATED}
    assert not report.killed
    assert os.listdir(launch.release) == []  # noqa: PTH208


async def test_a_stopped_process_is_killed_when_its_time_is_over(launch: Launcher) -> None:
    app = launch(*READY)
    await launch.line()
    app.signal(signal.SIGSTOP)
    await trio.to_thread.run_sync(os.waitid, os.P_PID, app.pid, os.WSTOPPED | os.WNOWAIT)
    assert await end(app, kill_after=SHORT) == ExitReport(KILLED, killed=True, left=[])


async def test_workers_are_left_for_their_master_to_end(launch: Launcher) -> None:
    master = """
        sh -c 'trap "echo worker has TERM" TERM; trap "exit 0" USR1; while :; do sleep 0.02; done' & worker=$!
        trap 'kill -USR1 $worker; wait $worker; exit 0' TERM
        echo ready
        while :; do sleep 0.02; done
    """
    app = launch("sh", "-c", master)
    await launch.line()
    assert await end(app) == ExitReport(0, killed=False, left=[])
    assert launch.rest() == ""


async def test_a_worker_that_outlives_its_master_is_killed(launch: Launcher) -> None:
    master = "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.02; done' & trap 'exit 0' TERM; wait"
    app = launch("sh", "-c", master)
    await launch.line()
    assert await end(app, kill_after=SHORT) == ExitReport(0, killed=True, left=[])


async def test_a_worker_that_outlives_a_crash_of_its_master_is_ended_too(launch: Launcher) -> None:
    app = launch("sh", "-c", "sleep 1000 & echo ready; kill -KILL $$")
    await launch.line()
    assert await app.ended() == KILLED
    assert len(await app.members()) == 1
    assert await end(app) == ExitReport(KILLED, killed=False, left=[])


TOLD_APP = "sh -c 'trap \"echo told; exit 0\" TERM; echo ready; while :; do sleep 0.02; done'"


async def test_an_app_behind_a_shell_that_dies_of_the_signal_gets_it_and_its_time(launch: Launcher) -> None:
    app = launch("sh", "-c", f"{TOLD_APP}; true")
    await launch.line()
    assert len(await app.members()) >= 2
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])
    assert launch.rest().count("told") == 1


async def test_an_app_behind_a_wrapper_that_swallows_the_signal_gets_it_after_half_the_time(
    launch: Launcher,
) -> None:
    app = launch("sh", "-c", f"trap : TERM; {TOLD_APP} & wait; wait; exit 5")
    await launch.line()
    assert await end(app, kill_after=20 * SHORT) == ExitReport(5, killed=False, left=[])
    assert launch.rest().count("told") == 1


async def test_each_process_gets_the_signal_once(launch: Launcher) -> None:
    count = "trap 'echo told' TERM; echo ready; while :; do sleep 0.02; done"
    app = launch("sh", "-c", count)
    await launch.line()
    assert await end(app, kill_after=2 * ending.REFRESH_SECONDS) == ExitReport(KILLED, killed=True, left=[])
    assert launch.rest().count("told") == 1


async def test_processes_that_are_forked_while_others_are_killed_are_killed(launch: Launcher) -> None:
    fork = "trap '' TERM; echo ready; while :; do (exec setsid sh -c 'trap \"\" TERM; sleep 1000' &) ; done"
    app = launch("sh", "-c", fork)
    await launch.line()
    assert await end(app, stop_now=hurried()) == ExitReport(KILLED, killed=True, left=[])


async def test_unkillable_processes_are_reported_and_not_waited_for(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = launch(*READY)
    await launch.line()
    with monkeypatch.context() as patch:
        patch.setattr(ending, "send_signal", lambda entry, signum, covers=None: False)
        patch.setattr(ending, "KILL_SECONDS", SHORT)
        report = await end(app, stop_now=hurried())
        assert report == ExitReport(None, killed=False, left=[app.pid], reason=report.reason)
        assert re.fullmatch(rf"pid {app.pid}, `sleep 1000`, of user \w+: still there after SIGKILL.*", report.reason)
    assert app.is_alive
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])


async def test_zombies_of_all_depths_are_reaped(launch: Launcher) -> None:
    app = launch("sh", "-c", "for i in 1 2 3; do (sh -c 'sh -c : & exit' &); done; echo ready; exec sleep 1000")
    await launch.line()
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])


# --- daemons --------------------------------------------------------------------------------------------------------


async def test_a_daemon_is_followed_by_its_pidfile_and_signalled(launch: Launcher) -> None:
    app = launch(*daemon(launch.pidfile, "sh", "-c", f"sleep 1000 & {TOLD_APP}; exit 4"))
    pid = int(await launch.line())
    await launch.line()
    assert await app.wait() == 0
    with trio.move_on_after(SHORT) as scope:
        await app.ended()
    assert scope.cancelled_caught
    assert (await app.members())[0] == pid
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])


async def test_a_daemon_that_ignores_the_signal_is_killed(launch: Launcher) -> None:
    app = launch(*daemon(launch.pidfile, *STUBBORN))
    await launch.line()
    await launch.line()
    assert await end(app, kill_after=SHORT) == ExitReport(KILLED, killed=True, left=[])


async def test_a_daemon_without_a_pidfile_is_known_by_its_marker(launch: Launcher) -> None:
    app = launch(*daemon(None, "sleep", "1000"))
    pid = int(await launch.line())
    assert await app.wait() == 0
    assert await app.members() == [pid]
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])


async def test_a_daemon_that_was_forked_while_the_table_was_read_is_not_missed(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = launch(*daemon(None, "sleep", "1000"))
    pid = int(await launch.line())
    with monkeypatch.context() as patch:
        turns: itertools.cycle[set[int]] = itertools.cycle([set(), {pid}])

        def read_too_early() -> dict[int, ProcessInfo]:
            missed = next(turns)
            return {number: entry for number, entry in read_table().items() if number not in missed}

        patch.setattr(process_tree, "read_table", read_too_early)
        with trio.move_on_after(SHORT) as waiting:
            await app.ended()
    assert waiting.cancelled_caught
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])


CRASHING = ("sh", "-c", "sleep 1000 & trap 'exit 5' USR1; echo ready; while :; do sleep 0.02; done")


@pytest.mark.parametrize("is_named", [True, False])
async def test_the_end_of_a_daemon_is_the_end_of_the_app(launch: Launcher, is_named: bool) -> None:
    app = launch(*daemon(launch.pidfile if is_named else None, *CRASHING))
    pid = int(await launch.line())
    await launch.line()
    assert await app.wait() == 0
    assert (await app.members())[0] == pid
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def ended() -> None:
            with trio.fail_after(30):
                assert await app.ended() == 5

        await trio.testing.wait_all_tasks_blocked()
        os.kill(pid, signal.SIGUSR1)
    assert await end(app) == ExitReport(5, killed=False, left=[])


async def test_a_daemon_that_ends_before_anybody_looked_has_ended(launch: Launcher) -> None:
    app = launch(*daemon(launch.pidfile, *CRASHING))
    pid = int(await launch.line())
    await launch.line()
    assert await app.wait() == 0
    os.kill(pid, signal.SIGUSR1)
    await trio.to_thread.run_sync(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with trio.fail_after(30):
        assert await app.ended() == 5
    assert await end(app) == ExitReport(5, killed=False, left=[])


async def test_a_daemon_that_ends_well_and_leaves_nothing_has_ended(launch: Launcher) -> None:
    app = launch(*daemon(launch.pidfile, "true"))
    with trio.fail_after(30):
        assert await app.ended() == 0
    assert await end(app) == ExitReport(0, killed=False, left=[])


async def test_a_pidfile_may_come_late(launch: Launcher) -> None:
    later = 'sleep 1000 & read -r _ <"$1"; echo $$ >"$PIDFILE"; echo written; read -r _ <"$1"; exit 6'
    fifo = launch.release / "fifo"
    os.mkfifo(fifo)
    app = launch(*daemon(None, "sh", "-c", later, "sh", str(fifo)))
    pid = int(await launch.line())
    gate = os.open(fifo, os.O_RDWR)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            statuses: list[int | None] = []

            @nursery.start_soon
            async def ended() -> None:
                statuses.append(await app.ended())

            await app.wait()
            os.write(gate, b"\n")
            assert await launch.line() == "written"
            assert (await app.members())[0] == pid
            os.write(gate, b"\n")
    os.close(gate)
    assert statuses == [6]
    assert await end(app) == ExitReport(6, killed=False, left=[])


async def test_the_parent_of_a_daemon_that_fails_has_failed(launch: Launcher) -> None:
    app = launch("sh", "-c", "sleep 1000 & exit 1")
    assert await app.ended() == 1
    assert await end(app) == ExitReport(1, killed=False, left=[])


# --- whose it is ----------------------------------------------------------------------------------------------------

ANONYMOUS = ("env", "-i", "sh", "-c", "echo ready; exec sleep 1000")
"""In /proc, a process without an environment looks like one that wrote a title over its own."""


async def test_a_process_without_a_marker_is_known_by_its_session(launch: Launcher) -> None:
    app = launch("sh", "-c", '"$@" & exit 0', "sh", *ANONYMOUS)
    await launch.line()
    assert await app.wait() == 0
    assert len(await app.members()) == 1
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])


async def test_a_process_without_marker_and_session_is_known_by_descent(launch: Launcher) -> None:
    app = launch("sh", "-c", 'setsid "$@" & wait', "sh", *ANONYMOUS)
    await launch.line()
    assert len(await app.members()) == 2
    app.signal(signal.SIGKILL)
    assert await app.wait() == KILLED
    assert len(await app.members()) == 1
    assert await end(app) == ExitReport(KILLED, killed=False, left=[])


async def test_a_daemon_that_wrote_over_its_environment_is_known_by_its_pidfile(launch: Launcher) -> None:
    app = launch(*daemon(launch.pidfile, *ANONYMOUS))
    pid = int(await launch.line())
    await launch.line()
    assert await app.wait() == 0
    assert await app.members() == [pid]
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])


async def test_the_processes_of_another_generation_are_not_ended(launch: Launcher) -> None:
    first, second = launch(*READY), launch(*daemon(None, *READY))
    for _ in range(3):
        await launch.line()
    assert await second.wait() == 0
    (pid,) = await second.members()
    assert await end(first) == ExitReport(TERMINATED, killed=False, left=[])
    assert await second.members() == [pid]
    assert await end(second) == ExitReport(TERMINATED, killed=False, left=[])


@pytest.mark.parametrize("text", ["", "{foreign", "{foreign}{foreign}", "{foreign}", "1", "{ours}", "{unknown}"])
async def test_a_pidfile_that_names_a_process_of_no_launch_is_ignored(launch: Launcher, text: str) -> None:
    with stranger() as other:
        app = launch(*READY)
        unknown = max(read_table()) + 1000
        text = text.replace("{foreign}", str(other.pid)).replace("{foreign", str(other.pid)[:-1])
        launch.pidfile.write_text(text.format(ours=os.getpid(), unknown=unknown))
        await launch.line()
        assert await app.members() == [app.pid]
        assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])
        assert is_alive(other)


async def test_a_pidfile_that_names_a_younger_process_of_no_launch_is_ignored(launch: Launcher) -> None:
    app = launch(*READY)
    await launch.line()
    with stranger() as other:
        launch.pidfile.write_text(str(other.pid))
        assert await app.members() == [app.pid]
        assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])
        assert is_alive(other)


@pytest.mark.parametrize("is_older", [True, False], ids=["older", "younger"])
async def test_a_pidfile_that_names_another_generation_is_ignored(launch: Launcher, *, is_older: bool) -> None:
    found = {}
    for command in (ANONYMOUS, READY) if is_older else (READY, ANONYMOUS):
        found[command] = launch(*command)
        await launch.line()
    app, other = found[READY], found[ANONYMOUS]
    launch.pidfile.write_text(str(other.pid))
    assert await app.members() == [app.pid]
    assert await end(app) == ExitReport(TERMINATED, killed=False, left=[])
    assert other.is_alive
    await end(other)


async def test_a_worker_that_the_pidfile_names_is_signalled_first(launch: Launcher) -> None:
    wrapper = """
        trap 'echo wrapper told' TERM
        sh -c 'echo $$ >"$PIDFILE"; trap "echo app told; exit 0" TERM; echo ready; while :; do sleep 0.02; done' &
        wait
        exit 3
    """
    app = launch("sh", "-c", wrapper)
    await launch.line()
    assert await end(app) == ExitReport(3, killed=False, left=[])
    assert launch.rest().startswith("app told\n")


# --- processes of an agent before us --------------------------------------------------------------------------------


def adopt(entry: ProcessInfo, known: dict[int, int] | None = None, **changes: Any) -> ProcessTree:
    """Hold a process that is not our child."""
    identity = ProcessIdentity(
        pid=entry.pid,
        pgid=entry.pid,
        start_time=entry.start_time,
        boot_id=boot_id(),
        state_dir="/state",
        generation=1,
        release="/",
        address="127.0.0.1:20000",
        pidfile="/state/generation-1/pid",
    )
    identity = replace(identity, **changes)
    return ProcessTree.found(identity, LaunchMarks(os.geteuid()), known or {})


async def test_a_process_that_is_no_child_of_the_agent_ends_with_an_unknown_status() -> None:
    with stranger() as other:
        app = adopt(other)
        assert app.is_alive
        assert app.pid in await app.members()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.wait)
            assert await end(app) == ExitReport(None, killed=False, left=[])
        assert not app.is_alive
        assert await app.wait() is None


async def test_no_exit_status_stays_reserved_after_the_end(launch: Launcher) -> None:
    before = reserved_children()
    app = launch(*daemon(launch.pidfile, "sleep", "1000"))
    await launch.line()
    await end(app)
    assert reserved_children() <= before


async def test_a_process_with_a_reused_number_is_not_signalled() -> None:
    with stranger() as other:
        app = adopt(other, start_time=other.start_time - 1)
        assert not app.is_alive
        assert other.pid not in await app.members()
        assert await end(app) == ExitReport(None, killed=False, left=[])
        assert is_alive(other)


async def test_a_daemon_is_known_by_its_record_if_its_mark_is_gone() -> None:
    with stranger() as daemon:
        app = adopt(daemon, {daemon.pid: daemon.start_time}, pid=1, pgid=1, start_time=daemon.start_time)
        assert not app.is_alive
        assert await app.members() == [daemon.pid]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.ended)
            assert await end(app) == ExitReport(None, killed=False, left=[])
        assert not is_alive(daemon)
