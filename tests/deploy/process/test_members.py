from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.deploy.process import members
from rainbowd.deploy.process.members import (
    Entry,
    family,
    held,
    is_marked,
    mark,
    read_entry,
    read_pidfile,
    read_table,
    tell,
    until_ended,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BORN = 1000
ROOT = Entry(pid=100, parent=1, session=100, start_time=BORN)


def found(*entries: Entry, known: dict[int, int] | None = None, marked: set[int] | None = None) -> set[int]:
    """The numbers of the generation's processes among ``entries``."""
    known = {ROOT.pid: ROOT.start_time} if known is None else known
    table = {entry.pid: entry for entry in entries}
    return set(family(table, known, BORN, (marked or set()).__contains__))


def test_a_generation_is_its_child_and_all_that_descends_from_it() -> None:
    worker = Entry(101, ROOT.pid, 101, BORN)
    helper = Entry(102, worker.pid, 102, BORN + 5)
    assert found(helper, worker, ROOT, Entry(103, 1, 103, BORN + 5)) == {100, 101, 102}


def test_those_in_a_session_of_ours_are_ours_when_their_parents_are_gone() -> None:
    assert found(ROOT, Entry(101, 1, ROOT.session, BORN + 1)) == {100, 101}


def test_a_zombie_still_stands_for_its_session() -> None:
    assert found(replace(ROOT, ended=True), Entry(101, 1, ROOT.session, BORN + 1)) == {100, 101}


def test_a_session_is_ours_by_any_of_those_in_it() -> None:
    marked, other = Entry(101, 1, 77, BORN + 1), Entry(102, 1, 77, BORN + 1)
    assert found(marked, other, marked={101}) == {101, 102}


def test_the_number_of_a_session_that_is_gone_tells_nothing() -> None:
    assert found(Entry(101, 1, ROOT.session, BORN + 1)) == set()


def test_what_was_seen_before_is_ours_by_number_and_start_time() -> None:
    daemon = Entry(101, 1, 101, BORN + 1)
    assert found(daemon, known={101: BORN + 1}) == {101}
    assert found(daemon, known={101: BORN + 2}) == set()


def test_a_recycled_number_is_a_strangers() -> None:
    assert found(replace(ROOT, start_time=BORN + 1)) == set()


def test_nothing_older_than_the_launch_is_ours() -> None:
    old = Entry(99, ROOT.pid, ROOT.session, BORN - 1)
    assert found(ROOT, old, marked={99}) == {100}


def test_we_are_not_ours_and_our_session_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    # A session that was begun outside of the PID namespace, as a container's may be, reads as 0.
    monkeypatch.setattr(os, "getsid", lambda _pid: 50)
    me = Entry(os.getpid(), 1, 50, BORN + 1)
    beside = Entry(101, me.pid, me.session, BORN + 1)
    stray = Entry(102, 1, me.session, BORN + 1)
    assert found(ROOT, me, beside, stray, marked={me.pid, stray.pid}) == {100, 102}


def test_processes_without_a_session_are_not_one() -> None:
    assert found(Entry(101, 1, 0, BORN), Entry(102, 1, 0, BORN), known={101: BORN}) == {101}


def test_the_kernels_threads_are_not_asked_for_a_marker() -> None:
    assert found(Entry(101, 2, 0, BORN), marked={101}) == set()


@contextmanager
def running(*argv: str, **variables: str) -> Iterator[Entry]:
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


def test_a_process_in_the_middle_of_execve_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [b"", b"", b"RAINBOWD_GENERATION=3\0RAINBOWD_STATE_DIR=/state\0"]
    monkeypatch.setattr(members, "environment", lambda pid: shown.pop(0))
    assert is_marked(4711, mark(0, "/state", 3))


def test_a_process_is_marked_by_its_state_directory_and_generation_together() -> None:
    with running("sleep", "60", RAINBOWD_STATE_DIR="/state", RAINBOWD_GENERATION="3") as entry:
        assert is_marked(entry.pid, mark(0, "/state", 3))
        assert not is_marked(entry.pid, mark(0, "/state", 33))
        assert not is_marked(entry.pid, mark(0, "/state/", 3))
        assert not is_marked(os.getpid(), mark(0, "/state", 3))
    assert not is_marked(entry.pid, mark(0, "/state", 3))


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


def test_a_signal_reaches_the_very_process_only() -> None:
    with running("sleep", "60") as entry:
        tell(replace(entry, start_time=entry.start_time - 1), signal.SIGKILL)
        with pytest.raises(ProcessLookupError), held(replace(entry, start_time=entry.start_time - 1)):
            pass
        before = read_entry(entry.pid)
        tell(entry, signal.SIGKILL)
        assert before == entry
        os.waitid(os.P_PID, entry.pid, os.WEXITED | os.WNOWAIT)
        tell(entry, signal.SIGKILL)
    tell(entry, signal.SIGKILL)


async def test_waiting_for_another_with_the_same_number_is_over_at_once() -> None:
    with running("sleep", "60") as entry, trio.fail_after(30):
        await until_ended(replace(entry, start_time=entry.start_time - 1))
        tell(entry, signal.SIGKILL)
        await until_ended(entry)
    await until_ended(entry)
