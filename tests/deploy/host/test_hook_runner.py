"""Hooks that really run: their processes, their time, their output."""

from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.config import Config, HookSettings
from rainbowd.deploy.hook_call import HookCall, HookResult
from rainbowd.deploy.host import command_line
from rainbowd.deploy.host.hook_runner import run_hook
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.deploy.process import reap_orphans, spawn
from tests.accounts import USER, needs_root, uid
from tests.cgroups import delegated_cgroup, groups_in, inside
from tests.signal_sets import signal_set

if TYPE_CHECKING:
    from collections.abc import Iterator

Run = Callable[..., Any]
Command = str | Sequence[str]

STUBBORN = "trap '' TERM; echo $$ > pids; (setsid sh -c 'trap \"\" TERM; echo $$ >> pids; sleep 300' &) ; sleep 300"


class Site:
    """A release, a state directory, and hooks that are run with them."""

    def __init__(self, directory: Path) -> None:
        self.release = directory / "v1"
        self.state_dir = directory / "state"
        self.release.mkdir()
        self.state_dir.mkdir()
        self.cancel = trio.Event()
        self.stop_now = trio.Event()
        self.lines: list[str] = []

    def call(self, command: Command, *, timeout: float = 60, kill_after: float = 10, **changes: Any) -> HookCall:
        config = Config(
            run="app",
            warmup=0,
            hooks=HookSettings(before_launch=command, timeout=timeout),  # type: ignore[arg-type]
            env={"A": "config", "B": "config"},
            drain={"kill_after": kill_after},  # type: ignore[arg-type]
            user=changes.pop("user", None),
        )
        facts: dict[str, Any] = {
            "hook": "before_launch",
            "plan": LaunchPlan(self.release, config, {"B": "file"}),
            "deploy": "d1",
            "generation": 3,
            "address": None,
            "release": self.release,
            "previous_release": None,
            "trigger": "file",
            "note": None,
        }
        return HookCall(**facts | changes)

    async def __call__(self, command: Command, **options: Any) -> HookResult:
        with trio.fail_after(50):
            return await run_hook(
                self.call(command, **options),
                self.state_dir,
                nofile_limit=99,
                cancel=self.cancel,
                stop_now=self.stop_now,
                on_line=self.lines.append,
            )

    async def pids(self, count: int, file: str = "pids") -> list[int]:
        """What was written down, once that is all."""
        with trio.fail_after(20):
            while True:
                try:
                    found = (self.release / file).read_text().split()
                except FileNotFoundError:
                    found = []
                if len(found) == count:
                    return [int(pid) for pid in found]
                await trio.sleep(0.01)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    site = Site(tmp_path)
    yield site
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert list(site.state_dir.iterdir()) == []


async def test_a_hook_has_a_control_group_of_its_own_if_systemd_delegates_one(site: Site, tmp_path: Path) -> None:
    with delegated_cgroup(tmp_path) as cgroup:
        with inside(cgroup):
            ending = await site("cat /proc/self/cgroup")
        assert "/generation-3-before_launch-" in "".join(ending.output)
        assert groups_in(cgroup) == []


async def test_a_hook_runs_in_the_release_and_its_output_is_kept(site: Site) -> None:
    ending = await site("pwd; echo to stderr >&2; printf unfinished")
    assert ending == HookResult(0, [str(site.release), "to stderr", "unfinished"], None)


async def test_each_line_of_a_hook_is_reported_while_the_hook_runs(site: Site) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site, "echo begins; read line < more; echo $line")
        os.mkfifo(site.release / "more")
        with trio.fail_after(20):
            while site.lines != ["begins"]:  # noqa: ASYNC110 - a list has no event
                await trio.sleep(0.01)
            await trio.to_thread.run_sync((site.release / "more").write_text, "ends\n")
    assert site.lines == ["begins", "ends"]


async def test_placeholders_are_replaced_as_in_the_apps_command(site: Site) -> None:
    ending = await site(["printf", "%s\\n", "{release}", "{generation}", "{pidfile}", "[{port}]"])
    assert ending.output == [str(site.release), "3", str(site.state_dir / "generation-3/pid"), "[]"]
    ending = await site("echo $1 {port} $PORT", address=TcpAddress("127.0.0.1", 20001))
    assert ending.output == ["20001 20001 20001"]


async def test_its_environment_is_the_apps_and_what_there_is_to_know_of_the_deploy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC", "JOURNAL_STREAM", "RAINBOWD_HOOK":
        monkeypatch.setenv(name, "the agent's")
    command = (
        "env | grep -e ^RAINBOWD_ -e ^[AB]= -e =the"  # the tests' own environment can be longer than the kept output
    )
    ending = await site(
        command, previous_release=Path("/releases/v0"), note="urgent", reason="why", hook="before_launch"
    )
    variables = dict(line.split("=", 1) for line in ending.output)
    told = {name: value for name, value in variables.items() if name.startswith("RAINBOWD_")}
    assert len(told.pop("RAINBOWD_MARK")) == 32
    assert told == {
        "RAINBOWD_HOOK": "before_launch",
        "RAINBOWD_DEPLOY": "d1",
        "RAINBOWD_GENERATION": "3",
        "RAINBOWD_RELEASE": str(site.release),
        "RAINBOWD_PREVIOUS_RELEASE": "/releases/v0",
        "RAINBOWD_STATE_DIR": str(site.state_dir),
        "RAINBOWD_TRIGGER": "file",
        "RAINBOWD_NOTE": "urgent",
        "RAINBOWD_REASON": "why",
        "RAINBOWD_ROLLBACK": "",
        "RAINBOWD_ROLLOUT": "",
        "RAINBOWD_WAVE": "",
        "RAINBOWD_FIRST": "1",
    }
    assert (variables["A"], variables["B"]) == ("config", "file")
    assert "the agent's" not in variables.values()


async def test_an_unknown_value_is_an_empty_variable(site: Site) -> None:
    ending = await site(
        "echo [$RAINBOWD_GENERATION$RAINBOWD_RELEASE$RAINBOWD_PREVIOUS_RELEASE$RAINBOWD_NOTE$RAINBOWD_REASON]; set -u; "
        'echo "$RAINBOWD_GENERATION$RAINBOWD_RELEASE$RAINBOWD_PREVIOUS_RELEASE$RAINBOWD_NOTE$RAINBOWD_REASON"',
        generation=None,
        release=None,
    )
    assert (ending.exit_status, ending.output) == (0, ["[]", ""])


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("exit 3", 3, "the hook before_launch exited with status 3"),
        ("kill -SEGV $$", -11, "the hook before_launch was ended by SIGSEGV"),
        ("no-such-thing", 127, "the hook before_launch exited with status 127 (a command was not found)"),
    ],
)
async def test_a_failed_hook_is_described_in_words(site: Site, command: str, status: int, said: str) -> None:
    ending = await site(command)
    assert (ending.exit_status, ending.failure) == (status, said)


async def test_a_command_that_is_not_there_is_told_by_its_key(site: Site) -> None:
    assert await site(["./none"]) == HookResult(None, [], "hooks.before_launch: command not found: ./none")


async def test_a_release_that_is_gone_is_told(site: Site) -> None:
    site.release.rmdir()
    ending = await site("true")
    assert ending == HookResult(None, [], f"release: directory gone: {site.release}")


async def test_the_first_and_the_last_lines_are_kept_of_two_kilobytes_each(site: Site) -> None:
    ending = await site("seq 1 200000; head -c 5000 /dev/zero | tr '\\0' x")
    assert ending.output[:20] == [str(number) for number in range(1, 21)]
    assert ending.output[20] == "… 199931 lines …"
    assert ending.output[21:70] == [str(number) for number in range(199_952, 200_001)]
    assert ending.output[70:] == ["x" * 2048]


async def test_what_it_writes_is_reported_without_escape_sequences(site: Site) -> None:
    ending = await site("printf '\\033[31mred\\033[0m\\tone\\n'")
    assert ending.output == ["red\tone"]


async def test_it_has_nothing_to_read_and_no_descriptor_of_ours(site: Site) -> None:
    ending = await site(["ls", "-l", "/proc/self/fd"])
    targets = [line.split(" -> ")[1] for line in ending.output if " -> " in line]
    assert targets[0] == "/dev/null"
    assert targets[1] == targets[2]
    assert len(targets) == 4  # with the directory that is listed


async def test_it_ignores_no_signal_and_blocks_none_and_has_our_old_limit(site: Site) -> None:
    ending = await site("grep -E '^Sig(Ign|Blk)' /proc/self/status | cut -f2; ulimit -Sn; ulimit -Hn")
    assert [signal_set(line) for line in ending.output[:2]] == [0, 0]
    assert ending.output[2:] == ["99", str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])]


async def test_a_hook_that_hangs_is_told_to_end_at_its_limit(site: Site) -> None:
    ending = await site("trap 'echo told; exit 7' TERM; echo begun; while :; do sleep 0.05; done", timeout=1)
    assert ending == HookResult(7, ["begun", "told"], "the hook before_launch did not end within 1 s")


async def test_a_hook_that_does_not_end_is_killed_with_every_process_that_it_started(site: Site) -> None:
    ending = await site(STUBBORN, timeout=1, kill_after=0.5)
    assert ending.exit_status == -signal.SIGKILL
    assert [is_there(pid) for pid in await site.pids(2)] == [False, False]


async def test_what_a_hook_leaves_running_ends_with_it(site: Site) -> None:
    ending = await site("setsid sleep 300 & echo $! > pids; sleep 301 & echo $! >> pids; echo done")
    assert (ending.exit_status, ending.output, ending.failure) == (0, ["done"], None)
    assert [is_there(pid) for pid in await site.pids(2)] == [False, False]


async def test_a_hook_that_is_dropped_is_ended(site: Site) -> None:
    async with trio.open_nursery() as nursery:
        endings: list[HookResult] = []

        async def run() -> None:
            endings.append(await site("echo $$ > pids; exec sleep 300"))

        nursery.start_soon(run)
        await site.pids(1)
        site.cancel.set()
    (ending,) = endings
    assert ending.exit_status == -signal.SIGTERM
    assert ending.failure == "the hook before_launch was stopped, because another release was requested"


async def test_stop_now_leaves_no_time_between_the_signal_and_the_kill(site: Site) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: site(STUBBORN, kill_after=3600))
        pids = await site.pids(2)
        site.cancel.set()
        site.stop_now.set()
    assert [is_there(pid) for pid in pids] == [False, False]


async def test_a_hook_whose_task_is_cancelled_leaves_nothing(site: Site) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: site(STUBBORN, kill_after=0.2))
        pids = await site.pids(2)
        nursery.cancel_scope.cancel()
    assert [is_there(pid) for pid in pids] == [False, False]


async def test_its_exit_status_is_not_stolen_by_the_reaping_of_orphans(site: Site) -> None:
    async def reap_without_pause() -> None:
        while True:
            await trio.to_thread.run_sync(reap_orphans)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reap_without_pause)
        endings = [await site("(sh -c 'sleep 0.01' &) ; exit 5") for _ in range(20)]
        nursery.cancel_scope.cancel()
    assert {ending.exit_status for ending in endings} == {5}


async def test_its_processes_are_not_the_generations_nor_the_other_way_round(site: Site) -> None:
    """With the same number in the environment, and moved out of their sessions."""
    variables = command_line.environment(
        os.environ,
        config_env={},
        env_file_env={},
        port=20000,
        socket=None,
        pidfile=site.state_dir / "pid",
        release=site.release,
        generation=3,
        state_dir=site.state_dir,
    )
    output = os.open(os.devnull, os.O_WRONLY)
    app = spawn(
        ["sh", "-c", "setsid sleep 300 & echo $! > app; exec sleep 300"],
        cwd=site.release,
        env=variables,
        address=TcpAddress("127.0.0.1", 20000),
        output_fd=output,
        nofile_limit=99,
    )
    os.close(output)
    app.open_gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: site("(setsid sh -c 'echo $$ > pids; exec sleep 300' &) ; sleep 300"))
        (moved_away,) = await site.pids(1)
        await site.pids(1, "app")
        members = await app.members()
        assert len(members) == 2
        assert moved_away not in members
        site.cancel.set()
    assert not is_there(moved_away)
    assert await app.members() == members
    await app.end(signal=signal.SIGTERM, kill_after_seconds=10, stop_now=trio.Event())


# --- as another user ----------------------------------------------------------------------------------------------


@needs_root
async def test_as_another_user_nothing_of_root_is_left(open_path: Path) -> None:
    site = Site(open_path)
    ending = await site(
        "grep -E '^(Uid|Gid|Groups)' /proc/self/status; echo $HOME $USER $LOGNAME;echo again > /dev/stdout; ulimit -Sn",
        user=USER,
    )
    assert ending.failure is None
    uids, gids, groups, named, again, limit = ending.output
    assert set(uids.split()[1:]) == {str(uid())}
    assert "0" not in gids.split() + groups.split()
    assert (named.split()[1:], again, limit) == ([USER, USER], "again", "99")


@needs_root
async def test_as_another_user_a_hook_is_ended_like_any_other(open_path: Path) -> None:
    site = Site(open_path)
    os.chown(site.release, uid(), -1)
    ending = await site(STUBBORN, timeout=1, kill_after=0.5, user=USER)
    assert ending.exit_status == -signal.SIGKILL
    assert stat.S_IMODE((site.release / "pids").stat().st_mode) & stat.S_IRUSR
    assert [is_there(pid) for pid in await site.pids(2)] == [False, False]


@needs_root
async def test_a_program_of_somebody_elses_is_not_started(open_path: Path) -> None:
    site = Site(open_path)
    program = site.release / "hook"
    program.write_text("#!/bin/sh\ntouch ran\n")
    program.chmod(0o755)
    assert (await site(["./hook"])).exit_status == 0
    (site.release / "ran").unlink()
    os.chown(program, uid(), -1)
    ending = await site(["./hook"])
    assert ending.exit_status is None
    assert "only root may write" in (ending.failure or "")
    assert not (site.release / "ran").exists()
