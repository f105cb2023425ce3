from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import rainbowd
from rainbowd.errors import UsageError
from rainbowd.report import agent_pid_file
from rainbowd.report import lock as lock_module
from rainbowd.report.lock import Lock, holder
from rainbowd.report.state_dir import open_file, prepare
from tests.accounts import account, needs_root

ROOT = Path(rainbowd.__file__).parents[1]


def test_a_lock_names_its_holder_until_it_is_released(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    lock = Lock.acquire(tmp_path)
    assert holder(tmp_path) == os.getpid()
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    lock.release()
    lock.release()
    assert holder(tmp_path) is None
    Lock.acquire(tmp_path).release()


def test_a_second_agent_is_refused_with_the_pid_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "PATIENCE_SECONDS", 0.0)
    lock = Lock.acquire(tmp_path)
    with pytest.raises(UsageError, match=rf"{tmp_path}: another agent \(pid {os.getpid()}\) is running"):
        Lock.acquire(tmp_path)
    assert holder(tmp_path) == os.getpid(), "what was refused changes nothing"
    lock.release()


def test_the_lock_of_a_killed_agent_is_free_although_it_contains_a_pid(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rainbowd.report.lock import Lock\n"
        "lock = Lock.acquire(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"locked\n"
        assert holder(tmp_path) == agent.pid
        agent.kill()
        agent.wait()
    assert (tmp_path / "lock").read_text() == f"{agent.pid}\n"
    assert holder(tmp_path) is None
    Lock.acquire(tmp_path).release()


def test_a_search_for_the_holder_does_not_keep_an_agent_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = open_file(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr("time.sleep", lambda _seconds: os.close(asking))
    Lock.acquire(tmp_path).release()


@pytest.mark.parametrize("content", [b"", b"garbage", b"-1", b"0"])
def test_a_lock_without_a_pid_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(lock_module, "PATIENCE_SECONDS", 0.0)
    lock = Lock.acquire(tmp_path)
    (tmp_path / "lock").write_bytes(content)
    with pytest.raises(UsageError, match=f"{tmp_path}/lock: locked by a process that wrote no pid"):
        holder(tmp_path)
    lock.release()


def test_an_agent_that_is_about_to_write_its_pid_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock.acquire(tmp_path)
    (tmp_path / "lock").write_bytes(b"")
    monkeypatch.setattr("time.sleep", lambda _seconds: (tmp_path / "lock").write_bytes(b"77\n"))
    assert holder(tmp_path) == 77
    lock.release()


def test_without_a_state_directory_no_agent_is_running(tmp_path: Path) -> None:
    assert holder(tmp_path / "missing") is None


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "lock").symlink_to("other")
    with pytest.raises(UsageError, match="lock: "):
        Lock.acquire(tmp_path)
    with pytest.raises(UsageError, match="lock: "):
        holder(tmp_path)
    assert (tmp_path / "other").read_text() == "precious"


# --- readers ----------------------------------------------------------------------------------------------


def as_reader(state_dir: Path, code: str) -> str:
    """What ``code`` prints as a user who is in the group of the state directory."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(account().gid)
            os.setuid(account().uid)
            text = str(eval(code, {"os": os, "fcntl": fcntl, "holder": holder, "path": state_dir}))
        except BaseException as error:  # noqa: BLE001
            text = type(error).__name__
        os.write(theirs, text.encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def shared(open_path: Path) -> Path:
    """A state directory that another user may read."""
    prepare(open_path / "state")
    os.chown(open_path / "state", -1, account().gid)
    return open_path / "state"


@needs_root
def test_a_reader_finds_the_agent_and_cannot_take_its_lock(shared: Path) -> None:
    assert as_reader(shared, "holder(path)") == "None"
    lock = Lock.acquire(shared)
    assert as_reader(shared, "holder(path)") == f"{os.getpid()}"
    lock.release()
    assert as_reader(shared, "holder(path)") == "None"
    assert as_reader(shared, "os.open(path / 'lock', os.O_RDONLY)") == "PermissionError"


@needs_root
def test_a_lock_that_readers_could_open_is_closed_to_them(shared: Path) -> None:
    (shared / "lock").touch(0o640)
    Lock.acquire(shared).release()
    assert as_reader(shared, "os.open(path / 'lock', os.O_RDONLY)") == "PermissionError"


@needs_root
@pytest.mark.parametrize("change", [{"pid": 1}, {"start_time": 1}, {"boot_id": "another"}])
def test_a_record_with_a_reused_pid_names_no_agent(shared: Path, change: dict[str, object]) -> None:
    lock = Lock.acquire(shared)
    agent_pid_file.write(shared, agent_pid_file.current_identity(None)._replace(**change))  # type: ignore[arg-type]
    assert as_reader(shared, "holder(path)") == "None"
    lock.release()


@needs_root
def test_a_record_by_another_user_of_a_process_of_root_names_no_agent(shared: Path) -> None:
    lock = Lock.acquire(shared)
    os.chown(shared / agent_pid_file.NAME, account().uid, -1)
    assert as_reader(shared, "holder(path)") == "None"
    lock.release()


def test_a_process_that_has_ended_and_waits_to_be_reaped_is_not_alive(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        there = agent_pid_file.current_identity(None)._replace(
            pid=process.pid, start_time=agent_pid_file._stat(process.pid)[1]
        )
        assert there.is_alive(os.geteuid())
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not there.is_alive(os.geteuid())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "1"}', b'{"pid": 1}', b"\xff", b"[" * 9000])
def test_a_damaged_record_names_no_agent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / agent_pid_file.NAME).write_bytes(content)
    assert agent_pid_file.read(tmp_path) is None


# --- a lock that was lost -----------------------------------------------------------------------------------


def test_a_second_agent_is_refused_with_the_config_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "PATIENCE_SECONDS", 0.0)
    lock = Lock.acquire(tmp_path, tmp_path / "blue.json")
    with pytest.raises(UsageError, match=r"it runs with .*/blue.json: give each config a state_dir of its own"):
        Lock.acquire(tmp_path, tmp_path / "green.json")
    with pytest.raises(UsageError, match="it runs with this config: to replace it, use `rainbowd upgrade`"):
        Lock.acquire(tmp_path, tmp_path / "blue.json")
    lock.release()


HOLD = """
import sys
from pathlib import Path
from rainbowd.report.lock import Lock
lock = Lock.acquire(Path(sys.argv[1]), Path(sys.argv[2]))
print(flush=True)
for _ in sys.stdin:
    lock.retake()
    print(lock.is_lost(), flush=True)
"""


def another(state_dir: Path, config: Path) -> subprocess.Popen[str]:
    """Another process that has the lock, and takes it again at each line that it reads."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, state_dir, config],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_no_second_agent_starts_while_the_first_has_lost_its_lock(tmp_path: Path) -> None:
    prepare(tmp_path / "state")
    first = another(tmp_path / "state", tmp_path / "one.json")
    try:
        shutil.rmtree(tmp_path / "state")
        prepare(tmp_path / "state")
        with pytest.raises(UsageError, match=rf"another agent \(pid {first.pid}\)"):
            Lock.acquire(tmp_path / "state", tmp_path / "one.json")
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdin.write("\n")
        first.stdin.flush()
        assert first.stdout.readline() == "False\n"
        assert holder(tmp_path / "state") == first.pid
    finally:
        first.kill()
        first.communicate()
    Lock.acquire(tmp_path / "state", tmp_path / "one.json").release()


def test_a_site_that_was_moved_away_and_copied_back_has_its_agent_still(tmp_path: Path) -> None:
    site = tmp_path / "site"
    prepare(site / "state")
    first = another(site / "state", site / "one.json")
    try:
        site.rename(tmp_path / "old")
        shutil.copytree(tmp_path / "old", site)
        with pytest.raises(UsageError, match=rf"another agent \(pid {first.pid}\)"):
            Lock.acquire(site / "state", site / "one.json")
        shutil.copytree(site, tmp_path / "copy")
        Lock.acquire(tmp_path / "copy" / "state", tmp_path / "copy" / "one.json").release()
    finally:
        first.kill()
        first.communicate()


def test_a_lock_knows_that_it_was_lost_and_can_be_taken_again(tmp_path: Path) -> None:
    lock = Lock.acquire(tmp_path)
    number = lock.fileno()
    assert not lock.is_lost()
    (tmp_path / "lock").unlink()
    assert lock.is_lost()
    lock.retake()
    assert (lock.is_lost(), lock.fileno(), os.get_inheritable(number)) == (False, number, False)
    assert holder(tmp_path) == os.getpid()
    (tmp_path / "lock").rename(tmp_path / "elsewhere")
    assert lock.is_lost()
    lock.release()
    assert not lock.is_lost()
