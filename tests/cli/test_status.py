from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import rainbowd
from rainbowd.cli import agent_files as cli
from rainbowd.cli import disk
from rainbowd.cli import status as command
from rainbowd.cli.no_agent import find_orphans
from rainbowd.cli.terminal import ago
from rainbowd.errors import ConfigError, NotRunning, RainbowdError
from rainbowd.report.lock import Lock
from rainbowd.report.state_dir import prepare
from rainbowd.report.status import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tell = Callable[..., dict[str, Any]]
    Show = Callable[[], list[str]]

ROOT = Path(rainbowd.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
HEAVY = {"pydantic", "trio", "httpx", "watchfiles", "httptools", "asyncio", "rich"}


def at(ago_seconds: float) -> str:
    """Return a time with its milliseconds, so that nearly a second remains until it is a second longer ago."""
    return datetime.fromtimestamp(time.time() - ago_seconds, UTC).isoformat(timespec="milliseconds")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "rainbowd.json"
    file.write_text('{"run": ["app"], "state_dir": "state", "a key that the agent would refuse": 1}')
    return file


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    prepare(tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def agent(state_dir: Path) -> Iterator[None]:
    """This process, as far as the lock can tell."""
    lock = Lock.acquire(state_dir)
    yield
    lock.release()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "FIRST_STATUS_SECONDS", 0.0)


@pytest.fixture
def tell(tmp_path: Path, state_dir: Path) -> Tell:
    """Writes a status with one live generation out of v1, changed as told."""
    release = tmp_path / "v1"
    release.mkdir()

    def write_status(**changes: object) -> dict[str, Any]:
        told: dict[str, Any] = {
            "format": 1,
            "agent": {
                "pid": os.getpid(),
                "version": "1.2.3",
                "started_at": at(3725),
                "listen": ["0.0.0.0:7000", "unix:/run/a.sock"],
                "state": "ready",
            },
            "live": 3,
            "wanted": str(release),
            "last_deploy": None,
            "generations": [generation(3, release)],
            **changes,
        }
        write(state_dir, told)
        return told

    return write_status


def generation(number: int, release: Path | str, **changes: object) -> dict[str, object]:
    return {
        "id": number,
        "state": "live",
        "release": str(release),
        "address": f"127.0.0.1:{20000 + number}",
        "pid": 4000 + number,
        "started_at": at(90),
        "live_at": at(89),
        "in_flight": 2,
        "tunnels": 1,
        "requests": 1234,
        **changes,
    }


def process(name: str, instance: int = 1, **changes: object) -> dict[str, object]:
    started_at = at(3725)
    running = {"state": "running", "pid": 4730 + instance, "started_at": started_at, "restarts": 0}
    return {"name": name, "instance": instance, **running, **changes}


@pytest.fixture
def show(config: Path, agent: None, capsys: pytest.CaptureFixture[str]) -> Show:
    """What a person is shown, line by line."""

    def lines() -> list[str]:
        assert command.status(config, as_json=False) == 0
        return capsys.readouterr().out.splitlines()

    return lines


# --- what is shown ----------------------------------------------------------------------------------------


def test_the_agent_is_one_line(tell: Tell, show: Show) -> None:
    tell()
    line = show()[0]
    assert line.startswith(f"agent {os.getpid()}  rainbowd 1.2.3  ready  up 1h 2m  listening on ")
    assert line.endswith("listening on 0.0.0.0:7000, unix:/run/a.sock")


@pytest.mark.parametrize(
    ("pids", "line"),
    [
        ([71], "1 worker besides the agent: 71"),
        ([71, None], "2 workers besides the agent: 71, waits to be started again"),
    ],
)
def test_workers_are_one_line(tell: Tell, show: Show, pids: list[int | None], line: str) -> None:
    agent = tell()["agent"]
    entries = [{"pid": pid, "connections": 0, "requests": 0} for pid in [agent["pid"], *pids]]
    tell(agent={**agent, "workers": entries})
    assert show()[1] == line


def test_an_agent_alone_has_no_line_about_workers(tell: Tell, show: Show) -> None:
    tell()
    assert not [line for line in show() if "worker" in line]


def test_every_generation_is_one_line_and_the_live_one_is_marked(tmp_path: Path, tell: Tell, show: Show) -> None:
    candidate = generation(12, tmp_path / "v2", state="starting", pid=None, live_at=None)
    tell(generations=[generation(3, tmp_path / "v1"), candidate])
    header, live, starting = show()[1:4]
    names = "id state release address pid age in flight tunnels requests path"
    assert header.split() == names.split()
    shown = ["3", "live", "v1", "127.0.0.1:20003", "4003", "1m", "30s", "2", "1", "1234", f"{tmp_path}/v1"]
    assert live.split() == ["*", *shown]
    assert starting.split()[:5] == ["12", "starting", "v2", "127.0.0.1:20012", "-"]
    assert header.index("address") == live.index("127") == starting.index("127")


def test_companion_processes_are_under_their_generation(tmp_path: Path, tell: Tell, show: Show) -> None:
    waiting = process("beat", state="waiting", pid=None, started_at=None, restarts=4)
    processes = [waiting, process("worker", 1, restarts=2), process("worker", 2)]
    tell(generations=[generation(3, tmp_path / "v1", processes=processes), generation(4, tmp_path / "v1")])
    found = [line.split() for line in show()[3:6]]
    assert found == [
        ["beat", "waiting", "restarts", "4"],
        ["worker.1", "running", "pid", "4731", "up", "1h", "2m", "restarts", "2"],
        ["worker.2", "running", "pid", "4732", "up", "1h", "2m", "restarts", "0"],
    ]


@pytest.mark.parametrize("is_starting", [True, False])
def test_companion_processes_go_on_while_their_app_is_launched_again(
    tmp_path: Path, tell: Tell, show: Show, is_starting: bool
) -> None:
    candidates = [generation(4, tmp_path / "v1", state="starting", live_at=None)] if is_starting else []
    tell(live=None, generations=candidates, kept={"generation": 3, "processes": [process("worker")]})
    shown = show()
    place = shown.index("processes of generation 3, whose app has ended:")
    assert shown[place + 1].split()[:4] == ["worker", "running", "pid", "4731"]


@pytest.mark.parametrize(
    ("result", "reason", "line"),
    [
        ("succeeded", None, "last deploy  succeeded 2d 1h ago"),
        ("rolled_back", None, "last deploy  rolled back to v1 2d 1h ago"),
        ("failed", "superseded by /srv/v3", "last deploy  superseded 2d 1h ago: superseded by /srv/v3"),
        ("failed", "exited\n\x1b[2J with 1", r"last deploy  failed 2d 1h ago: exited\n\x1b[2J with 1"),
    ],
)
def test_the_last_deploy_has_its_result_and_reason(
    tell: Tell, show: Show, result: str, reason: str | None, line: str
) -> None:
    tell(last_deploy={"deploy": "a", "result": result, "reason": reason, "at": at(86400 * 2 + 3630)})
    assert show()[-1] == line


def test_a_rollback_that_needed_a_launch_is_shown_as_a_rollback(tell: Tell, show: Show) -> None:
    deploy = {"deploy": "a", "result": "succeeded", "reason": None, "at": at(60), "rollback": True}
    tell(last_deploy=deploy)
    assert show()[-1] == "last deploy  rolled back to v1 1m 0s ago"
    tell(last_deploy={**deploy, "result": "failed", "reason": "bad"})
    assert show()[-1] == "last deploy  failed 1m 0s ago: bad"


def test_the_app_has_its_name(tell: Tell, show: Show) -> None:
    told = tell()
    tell(agent={**told["agent"], "name": "shop\x1b"})
    assert show()[0].startswith(rf"shop\x1b  agent {os.getpid()}  rainbowd")


def test_a_deploy_that_is_under_way_is_shown_instead_of_the_failure_before_it(tell: Tell, show: Show) -> None:
    failed = {"deploy": "a", "result": "failed", "reason": "before", "at": at(60)}
    deploying = {"deploy": "b", "release": "/srv/slowup", "step": "health", "step_at": at(9), "last_check": "503"}
    tell(last_deploy=failed, deploying=deploying, wanted="/srv/slowup")
    assert show()[3:] == ["deploying slowup: health check, 9s, last: 503"]


class FileSystem(NamedTuple):
    f_bfree: int = 1000
    f_bavail: int = 1000
    f_files: int = 1000
    f_ffree: int = 1000
    f_favail: int = 1000
    f_frsize: int = 4096
    f_flag: int = 0


@pytest.mark.parametrize(
    ("found", "is_root", "problem"),
    [
        (FileSystem(), False, None),
        (FileSystem(f_bavail=0), False, "is full"),
        (FileSystem(f_bavail=0), True, None),
        (FileSystem(f_bfree=0, f_bavail=0), True, "is full"),
        (FileSystem(f_favail=0), False, "has no room for one more file"),
        (FileSystem(f_favail=0, f_ffree=0, f_files=0), False, None),
        (FileSystem(f_flag=os.ST_RDONLY), True, "is read-only"),
    ],
)
def test_a_disk_that_takes_nothing_more_is_known(found: Any, is_root: bool, problem: str | None) -> None:
    assert disk.problem_of(found, is_root=is_root) == problem


def test_a_status_that_may_be_out_of_date_has_its_time(
    state_dir: Path, tell: Tell, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell()
    os.utime(state_dir / "status.json", (1_000_000_000, 1_000_000_000))
    monkeypatch.setattr(os, "statvfs", lambda _path: FileSystem(f_bfree=0, f_bavail=0))
    assert show()[-1] == f"warning: the disk of {state_dir} is full: this is as of 2001-09-09 01:46:40 UTC"


def test_a_healthy_status_has_no_warnings(tell: Tell, show: Show) -> None:
    tell()
    assert len(show()) == 3


def test_a_deleted_live_release_is_a_warning(tmp_path: Path, tell: Tell, show: Show) -> None:
    tell()
    (tmp_path / "v1").rmdir()
    assert show()[3:] == [f"warning: the live release's directory no longer exists: {tmp_path}/v1"]


def test_the_warnings_of_the_agent_are_shown(tell: Tell, show: Show) -> None:
    crashed = {"kind": "crashed", "text": "v1 crashed 10 times since it went live, last: it\x1b exited"}
    tell(live=None, generations=[], warnings=[{"kind": "dead", "text": "nothing is live"}, crashed])
    assert show()[1:] == [
        "no generations",
        "warning: nothing is live",
        r"warning: v1 crashed 10 times since it went live, last: it\x1b exited",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0s"), (59, "59s"), (61, "1m 1s"), (3600, "1h 0m"), (90_000, "1d 1h")],
)
def test_a_span_has_two_units(monkeypatch: pytest.MonkeyPatch, seconds: int, shown: str) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000_000 + seconds)
    assert ago("2001-09-09T01:46:40.000Z") == shown


def test_json_is_the_status_as_the_agent_wrote_it(
    config: Path, agent: None, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tell()
    assert command.status(config, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == told


def test_colours_are_for_terminals_that_want_them(config: Path, agent: None, tell: Tell) -> None:
    tell()
    for no_colour, is_coloured in (("", True), ("1", False)):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "rainbowd", "status", "--config", str(config)]
        subprocess.run(command, env={**ENVIRONMENT, "NO_COLOR": no_colour}, stdout=theirs, check=True)
        os.close(theirs)
        assert (b"\x1b[32m" in os.read(ours, 10_000)) is is_coloured
        os.close(ours)


def test_an_ascii_output_is_not_an_error(tmp_path: Path, config: Path, agent: None, tell: Tell) -> None:
    tell(generations=[generation(3, tmp_path / "caf\u00e9 \udc80")])
    done = subprocess.run(
        [sys.executable, "-m", "rainbowd", "status", "--config", str(config)],
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert rb"caf\xe9 \udc80" in done.stdout


# --- what cannot be shown ---------------------------------------------------------------------------------


def test_the_status_of_a_dead_agent_is_not_shown(config: Path, tell: Tell, capsys: pytest.CaptureFixture[str]) -> None:
    tell()
    with pytest.raises(NotRunning, match="no agent is running"):
        command.status(config, as_json=True)
    assert capsys.readouterr().out == ""


def test_the_status_of_an_earlier_agent_is_not_shown(config: Path, agent: None, tell: Tell, impatient: None) -> None:
    told = tell()
    tell(agent={**told["agent"], "pid": 1})
    with pytest.raises(RainbowdError, match=rf"status\.json: the running agent \(pid {os.getpid()}\) has not"):
        command.status(config, as_json=False)


def test_an_agent_that_has_just_started_is_given_a_moment(
    config: Path, agent: None, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: tell())
    assert command.status(config, as_json=False) == 0


def test_a_missing_status_is_reported(config: Path, agent: None, impatient: None) -> None:
    with pytest.raises(RainbowdError, match="has not written it") as caught:
        command.status(config, as_json=False)
    assert caught.value.exit_status == 1


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1', '{"format": 2}'])
def test_a_damaged_status_is_reported(config: Path, agent: None, state_dir: Path, content: str) -> None:
    (state_dir / "status.json").write_text(content)
    with pytest.raises(RainbowdError, match=r"status\.json: ") as caught:
        command.status(config, as_json=False)
    assert caught.value.exit_status == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"generations": None},
        {"generations": [{}]},
        {"live": 3, "generations": [generation(3, "v1", started_at="noon")]},
        {"last_deploy": 7},
        {"generations": ["text"]},
    ],
)
def test_a_status_with_odd_content_is_reported(
    config: Path, agent: None, tell: Tell, changes: dict[str, object]
) -> None:
    tell(**changes)
    with pytest.raises(RainbowdError, match="damaged"):
        command.status(config, as_json=False)


def test_an_unusable_config_is_reported(config: Path) -> None:
    with pytest.raises(ConfigError):
        command.status(config.with_name("missing"), as_json=False)
    config.write_text("{")
    with pytest.raises(RainbowdError, match=r"rainbowd\.json: line 1") as caught:
        command.status(config, as_json=False)
    assert caught.value.exit_status == 1


# --- as a command -----------------------------------------------------------------------------------------


def test_the_exit_status_is_3_without_an_agent(config: Path) -> None:
    command = [sys.executable, "-m", "rainbowd", "status", "--config", str(config)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    first, start = done.stderr.splitlines()
    assert first.startswith("rainbowd: no agent is running")
    assert start.startswith(f"rainbowd: `rainbowd --config {config}` starts an agent")


def test_an_app_that_runs_without_an_agent_is_named(state_dir: Path) -> None:
    start_time = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record = {"pid": 1, "start_time": -1, "boot_id": boot_id, "generation": 3, "state": "live"}
    file = state_dir / "generation-3.json"
    file.write_text(json.dumps({**record, "known": [[os.getpid(), start_time]]}))
    assert find_orphans(state_dir) == [(3, [os.getpid()])]
    for gone in (
        {"known": [[os.getpid(), start_time + 1]]},
        {"known": [[os.getpid(), start_time]], "boot_id": "other"},
    ):
        file.write_text(json.dumps({**record, **gone}))
        assert find_orphans(state_dir) == []
    file.write_text(json.dumps({**record, "known": [[os.getpid(), start_time]]}))
    if os.geteuid() == 0:  # what another account wrote names none of root's processes
        os.chown(file, 12345, -1)
        assert find_orphans(state_dir) == []
        os.chown(file, 0, -1)
    for damaged in ("", "[]", "{}", '{"state": 5}', '{"state": "live", "known": 7}'):
        file.write_text(damaged)
        assert find_orphans(state_dir) == []


def test_companion_processes_that_run_without_an_agent_are_named_after_their_app(state_dir: Path) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with subprocess.Popen(["sleep", "1000"]) as worker:
        try:
            app, companion = (
                {
                    "pid": pid,
                    "start_time": int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]),
                    "boot_id": boot_id,
                    "generation": 3,
                }
                for pid in (os.getpid(), worker.pid)
            )
            record = {"identity": companion, "name": "worker", "owner": 4, "known": []}
            (state_dir / "generation-3-worker.1-0f3a9c21.json").write_text(json.dumps(record))
            assert find_orphans(state_dir) == [(4, [worker.pid])]
            (state_dir / "generation-4.json").write_text(
                json.dumps({**app, "generation": 4, "state": "live", "known": []})
            )
            assert find_orphans(state_dir) == [(4, [os.getpid(), worker.pid])]
        finally:
            worker.kill()


def test_nothing_heavy_is_imported(config: Path, agent: None, tell: Tell) -> None:
    told = tell()
    code = (
        "import sys, rainbowd.cli\n"
        "status = rainbowd.cli.main(['status', '--json', '--config', sys.argv[1]])\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
        "raise SystemExit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, config], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == told
    assert "json" in done.stderr.split()
    assert not HEAVY & set(done.stderr.split())
