from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.deploy.process import procfs
from rainbowd.deploy.process.procfs import (
    ProcessInfo,
    ProcReader,
    open_pidfds,
    read_entry,
    read_pidfile,
    read_table,
    read_uid,
    send_signal,
    until_ended,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running(*argv: str, **variables: str) -> Iterator[ProcessInfo]:
    """A process that has nothing to do with any generation."""
    with subprocess.Popen(argv, env={"PATH": os.environ["PATH"], **variables}) as process:
        entry = read_entry(process.pid)
        assert entry is not None
        try:
            yield entry
        finally:
            process.kill()


def test_a_process_is_read_as_it_is() -> None:
    entry = read_entry(os.getpid())
    assert entry is not None
    assert (entry.pid, entry.parent, entry.session) == (os.getpid(), os.getppid(), os.getsid(0))
    assert not entry.ended
    assert read_table()[os.getpid()] == entry


def test_a_name_with_brackets_and_blanks_is_no_obstacle(tmp_path: Path) -> None:
    odd = shutil.copy("/bin/sleep", tmp_path / "a) R 7 (b")
    with running(str(odd), "60") as entry:
        assert entry.parent == os.getpid()


def test_there_is_no_entry_of_a_process_that_was_reaped() -> None:
    with running("true") as entry:
        pass
    assert read_entry(entry.pid) is None


def test_a_zombie_has_ended() -> None:
    with running("true") as entry:
        os.waitid(os.P_PID, entry.pid, os.WEXITED | os.WNOWAIT)
        now = read_entry(entry.pid)
        assert now == replace(entry, ended=True)


def test_a_process_whose_first_thread_has_ended_has_not() -> None:
    exit_thread = {"x86_64": 60, "aarch64": 93}.get(platform.machine())
    if exit_thread is None:
        pytest.skip("the number of exit(2) is not known here")
    code = f"""
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print(flush=True)
ctypes.CDLL(None).syscall({exit_thread}, 0)
"""
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while b"State:\tZ" not in _status(process.pid):
            pass
        entry = read_entry(process.pid)
        process.kill()
    assert entry is not None
    assert not entry.ended


def _status(pid: int) -> bytes:
    with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
        return file.read()


def test_a_process_in_the_middle_of_execve_is_read_again_for_as_long_as_that_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = [*[b""] * 100, b"A=1\0B=2\0"]
    monkeypatch.setattr(procfs, "read_environment", lambda pid: shown.pop(0))
    monkeypatch.setattr(procfs, "_read_stat", lambda pid: [b"R", *[b"0"] * 50])
    assert ProcReader().environments([os.getpid()]) == {os.getpid(): {b"A=1", b"B=2", b""}}


def test_a_process_without_an_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, sys; os.execve('/bin/sleep', ['sleep', '60'], {})"
    with running(sys.executable, "-S", "-c", script) as entry:
        while procfs.read_command(entry.pid) != "sleep 60":
            pass
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it was read again"))
        assert ProcReader().environments([entry.pid]) == {}


def test_the_environment_of_a_zombie_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with running("true") as entry:
        os.waitid(os.P_PID, entry.pid, os.WEXITED | os.WNOWAIT)
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it was read again"))
        assert ProcReader().environments([entry.pid, 1 << 22]) == {}


def test_only_the_start_of_an_environment_is_read() -> None:
    many = {f"N{number}": "x" * 100_000 for number in range(8)}
    with running("sleep", "60", **many) as entry:
        ProcReader().environments([entry.pid])  # waits for the end of execve
        environment = procfs.read_environment(entry.pid)
    assert environment is not None
    assert 0 < len(environment) <= 1 << 18


def test_a_process_belongs_to_the_account_that_started_it() -> None:
    assert read_uid(os.getpid()) == os.getuid()
    with running("true") as entry:
        pass
    assert read_uid(entry.pid) is None
    assert ProcReader().uid(entry.pid) is None


def test_a_command_is_text_without_control_characters(tmp_path: Path) -> None:
    odd = shutil.copy("/bin/sleep", tmp_path / "a\x1b[31m")
    with running(str(odd), "60") as entry:
        while not Path(f"/proc/{entry.pid}/cmdline").read_bytes():  # Popen returns before execve(2) is over
            time.sleep(0.001)
        assert procfs.read_command(entry.pid) == f"{tmp_path}/a?[31m 60"
    assert procfs.read_command(entry.pid) == ""


def test_a_signal_is_for_accounts_that_are_covered() -> None:
    with running("sleep", "60") as entry:
        assert not send_signal(entry, signal.SIGKILL, lambda uid: uid != os.getuid())
        assert send_signal(entry, signal.SIGKILL, lambda uid: uid == os.getuid())
    assert not send_signal(entry, signal.SIGKILL, lambda _: True)


@pytest.mark.parametrize(
    ("text", "pid"),
    [
        ("4711", 4711), ("4711\n", 4711), (" 4711 \n", 4711),
        ("", None), ("\n", None), ("0", None), ("-1", None), ("4711x", None), ("47 11", None), ("0x10", None),
        ("4711\n4712\n", None), ("9" * 31, None), ("9" * 4000, None), ("4711\0", None), ("\u0664", None),
    ],
)  # fmt: skip
def test_a_pidfile_is_one_number(tmp_path: Path, text: str, pid: int | None) -> None:
    path = tmp_path / "pid"
    path.write_text(text)
    assert read_pidfile(path) == pid


def test_a_pidfile_is_a_file(tmp_path: Path) -> None:
    path, target = tmp_path / "pid", tmp_path / "target"
    assert read_pidfile(path) is None
    target.write_text("4711")
    path.symlink_to(target)
    assert read_pidfile(path) is None
    path.unlink()
    path.mkdir()
    assert read_pidfile(path) is None
    path.rmdir()
    os.mkfifo(path)
    assert read_pidfile(path) is None
    writer = os.open(path, os.O_RDWR)
    assert read_pidfile(path) is None
    os.close(writer)


def test_a_signal_reaches_only_the_process_with_that_start_time() -> None:
    with running("sleep", "60") as entry:
        send_signal(replace(entry, start_time=entry.start_time - 1), signal.SIGKILL)
        with pytest.raises(ProcessLookupError), open_pidfds(replace(entry, start_time=entry.start_time - 1)):
            pass
        before = read_entry(entry.pid)
        send_signal(entry, signal.SIGKILL)
        assert before == entry
        os.waitid(os.P_PID, entry.pid, os.WEXITED | os.WNOWAIT)
        send_signal(entry, signal.SIGKILL)
    send_signal(entry, signal.SIGKILL)


async def test_waiting_for_another_with_the_same_number_is_over_at_once() -> None:
    with running("sleep", "60") as entry, trio.fail_after(30):
        await until_ended(replace(entry, start_time=entry.start_time - 1))
        send_signal(entry, signal.SIGKILL)
        await until_ended(entry)
    await until_ended(entry)
