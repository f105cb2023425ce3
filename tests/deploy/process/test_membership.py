"""Which launch a process belongs to, by tables that a test writes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rainbowd.deploy.process.launches import Launch, LaunchMarks
from rainbowd.deploy.process.membership import find_membership
from rainbowd.deploy.process.procfs import ProcessInfo
from rainbowd.deploy.process.reaper import release_status, reserve_status
from tests.deploy.process.test_process_identity import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

APP, OTHER, ROOT = 1000, 2000, 0
US = os.getpid()
BORN = 1000
FIRST = ProcessInfo(100, US, 100, BORN)
SECOND = ProcessInfo(200, US, 200, BORN + 100)


class ProcessReader:
    """Accounts and environments as a test says; without a word, a process is the app's and has no mark."""

    def __init__(self, uids: dict[int, int], marks: dict[int, str]) -> None:
        self._uids, self._marks = uids, marks
        self.read: set[int] = set()

    def uid(self, pid: int) -> int | None:
        return self._uids.get(pid, APP)

    def environments(self, pids: Iterable[int]) -> dict[int, frozenset[bytes]]:
        pids = list(pids)
        self.read |= set(pids)
        return {pid: frozenset({b"RAINBOWD_MARK=" + self._marks[pid].encode()}) for pid in pids if pid in self._marks}


def launch(
    entry: ProcessInfo, secret: str, *, uid: int = APP, known: dict[int, int] | None = None, pidfile: str = ""
) -> Launch:
    identity = replace(
        IDENTITY, pid=entry.pid, start_time=entry.start_time, generation=entry.pid // 100, pidfile=pidfile
    )
    return Launch.of(identity, LaunchMarks(uid, secret), (known or {}).items())


class Case:
    """Two launches, and whatever else runs."""

    def __init__(self, *, uid: int = APP, known: dict[int, int] | None = None, pidfile: str = "") -> None:
        self.first = launch(FIRST, "one", uid=uid, known=known, pidfile=pidfile)
        self.second = launch(SECOND, "two", uid=uid)
        self.launches = [self.first, self.second]

    def found(
        self, *entries: ProcessInfo, uids: dict[int, int] | None = None, marks: dict[int, str] | None = None
    ) -> tuple[set[int], ...]:
        """The numbers of the processes of each."""
        self.reader = ProcessReader(uids or {}, marks or {})
        self.membership = find_membership({entry.pid: entry for entry in entries}, self.launches, self.reader)
        owners = self.membership.owners
        return tuple({pid for pid, owner in owners.items() if owner is one} for one in self.launches)


# --- one launch -----------------------------------------------------------------------------------------------------


def test_a_generation_is_its_child_and_all_that_descends_from_it() -> None:
    worker = ProcessInfo(101, FIRST.pid, 101, BORN)
    helper = ProcessInfo(102, worker.pid, 102, BORN + 5)
    assert Case().found(helper, worker, FIRST, ProcessInfo(103, 1, 103, BORN + 5))[0] == {100, 101, 102}


def test_those_in_a_session_of_ours_are_ours_when_their_parents_are_gone() -> None:
    assert Case().found(FIRST, ProcessInfo(101, 1, FIRST.session, BORN + 1))[0] == {100, 101}


def test_a_zombie_still_stands_for_its_session() -> None:
    assert Case().found(replace(FIRST, ended=True), ProcessInfo(101, 1, FIRST.session, BORN + 1))[0] == {100, 101}


def test_a_session_without_its_leader_is_ours_by_any_of_those_in_it() -> None:
    marked, other = ProcessInfo(101, 1, 77, BORN + 1), ProcessInfo(102, 1, 77, BORN + 1)
    assert Case().found(marked, other, marks={101: "one"})[0] == {101, 102}


def test_the_number_of_a_session_that_is_gone_proves_nothing() -> None:
    assert Case().found(ProcessInfo(101, 1, FIRST.session, BORN + 1))[0] == set()


def test_a_process_seen_before_is_recognised_by_number_and_start_time() -> None:
    daemon = ProcessInfo(101, 1, 101, BORN + 1)
    assert Case(known={101: BORN + 1}).found(daemon)[0] == {101}
    assert Case(known={101: BORN + 2}).found(daemon)[0] == set()


def test_a_process_with_a_reused_number_does_not_belong_to_the_launch() -> None:
    assert Case().found(replace(FIRST, start_time=BORN + 1, parent=1))[0] == set()


def test_a_process_older_than_the_launch_does_not_belong_to_it() -> None:
    old = ProcessInfo(99, FIRST.pid, FIRST.session, BORN - 1)
    assert Case().found(FIRST, old, marks={99: "one"})[0] == {100}


def test_the_agent_and_its_session_belong_to_no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    # A session that was begun outside of the PID namespace, as a container's may be, reads as 0.
    monkeypatch.setattr(os, "getsid", lambda _pid: 50)
    me = ProcessInfo(US, 1, 50, BORN + 1)
    beside = ProcessInfo(101, 1, me.session, BORN + 1)
    stray = ProcessInfo(102, 1, me.session, BORN + 1)
    assert Case().found(FIRST, me, beside, stray, marks={me.pid: "one", stray.pid: "one"})[0] == {100, 102}


def test_processes_without_a_session_are_not_one() -> None:
    assert Case(known={101: BORN}).found(ProcessInfo(101, 1, 0, BORN), ProcessInfo(102, 1, 0, BORN))[0] == {101}


def test_kernel_threads_are_not_searched_for_a_mark() -> None:
    case = Case()
    assert case.found(ProcessInfo(101, 2, 0, BORN), marks={101: "one"})[0] == set()
    assert case.reader.read == set()


def test_a_launch_of_an_earlier_version_is_marked_by_directory_and_number_unless_it_is_a_hooks() -> None:
    old = launch(FIRST, "")
    variables = {b"RAINBOWD_STATE_DIR=" + IDENTITY.state_dir.encode(), b"RAINBOWD_GENERATION=1"}
    assert old.is_named_by(APP, frozenset(variables))
    assert not old.is_named_by(APP, frozenset({*variables, b"RAINBOWD_HOOK=after_live"}))
    assert not old.is_named_by(OTHER, frozenset(variables))
    assert not old.is_named_by(APP, frozenset([*variables][:1]))


# --- two launches ---------------------------------------------------------------------------------------------------


def test_a_process_that_one_launch_starts_for_another_belongs_to_its_mark() -> None:
    daemon = ProcessInfo(101, FIRST.pid, FIRST.session, BORN + 1)
    asked = ProcessInfo(201, daemon.pid, daemon.session, BORN + 150)
    assert Case().found(FIRST, daemon, SECOND, asked, marks={201: "two"}) == ({100, 101}, {200, 201})


def test_a_mark_of_a_launch_counts_more_than_where_it_was_seen_before() -> None:
    case = Case(known={201: BORN + 150})
    assert case.found(FIRST, SECOND, ProcessInfo(201, FIRST.pid, 201, BORN + 150), marks={201: "two"})[1] == {200, 201}


def test_the_launched_process_belongs_to_its_launch_whatever_its_mark() -> None:
    assert Case().found(FIRST, SECOND, marks={100: "two", 200: "one"}) == ({100}, {200})


def test_a_session_belongs_to_the_launch_of_its_leader() -> None:
    guest = ProcessInfo(201, 1, FIRST.session, BORN + 150)
    unmarked = ProcessInfo(102, 1, FIRST.session, BORN + 150)
    assert Case().found(FIRST, SECOND, guest, unmarked, marks={201: "two"}) == ({100, 102}, {200, 201})


def test_a_session_without_its_leader_belongs_to_the_older_launch() -> None:
    first, second, unmarked = (ProcessInfo(pid, 1, 77, BORN + pid) for pid in (101, 202, 303))
    assert Case().found(first, second, unmarked, marks={101: "one", 202: "two"}) == ({101, 303}, {202})


# --- what came to us ------------------------------------------------------------------------------------------------


def orphan(start_time: int, *, parent: int = US, session: int = 300, ended: bool = False) -> ProcessInfo:
    return ProcessInfo(300, parent, session, start_time, ended)


@pytest.mark.parametrize("mark", [None, "forged", "/nowhere"])
def test_an_orphan_without_a_mark_belongs_to_the_only_launch_that_had_begun(mark: str | None) -> None:
    marks = {} if mark is None else {300: mark}
    assert Case().found(FIRST, SECOND, orphan(BORN + 50), marks=marks) == ({100, 300}, {200})


def test_the_descendants_of_an_orphan_belong_to_the_same_launch() -> None:
    child = ProcessInfo(301, 300, 301, BORN + 500)
    assert Case().found(FIRST, SECOND, orphan(BORN + 50), child) == ({100, 300, 301}, {200})


def test_an_orphan_of_several_possible_launches_belongs_to_the_last() -> None:
    case = Case()
    assert case.found(FIRST, SECOND, orphan(BORN + 150)) == ({100}, {200})
    case.launches = [case.second]
    assert case.found(FIRST, SECOND, orphan(BORN + 150)) == ({200, 300},)


def test_an_orphan_of_several_possible_launches_belongs_to_the_one_of_its_account() -> None:
    case = Case()
    case.second = case.launches[1] = launch(SECOND, "two", uid=OTHER)
    assert case.found(FIRST, SECOND, orphan(BORN + 150), uids={200: OTHER, 300: OTHER}) == ({100}, {200, 300})


def test_an_orphan_older_than_every_launch_belongs_to_none() -> None:
    assert Case().found(FIRST, SECOND, orphan(BORN - 1)) == ({100}, {200})


@pytest.mark.parametrize("change", [{"parent": 1}, {"session": os.getsid(0)}, {"ended": True}])
def test_only_a_running_child_of_the_agent_is_an_orphan(change: dict[str, int]) -> None:
    assert Case().found(FIRST, SECOND, orphan(BORN + 50, **change)) == ({100}, {200})  # type: ignore[arg-type]


def test_a_child_that_was_launched_is_no_orphan() -> None:
    reserve_status(300, BORN + 50)
    assert Case().found(FIRST, SECOND, orphan(BORN + 50)) == ({100}, {200})
    release_status(300, BORN + 50)


def test_an_agent_that_is_init_takes_only_a_process_named_by_a_pidfile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1)
    entries = replace(FIRST, parent=1), orphan(BORN + 50, parent=1)
    assert Case().found(*entries)[0] == {100}
    (tmp_path / "pid").write_text("300")
    assert Case(pidfile=str(tmp_path / "pid")).found(*entries)[0] == {100, 300}


def test_a_pidfile_decides_between_several(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("300")
    case = Case(pidfile=str(tmp_path / "pid"))
    assert case.found(FIRST, SECOND, orphan(BORN + 150)) == ({100, 300}, {200})
    assert case.membership.members(case.first).named == orphan(BORN + 150)


# --- other accounts -------------------------------------------------------------------------------------------------


def test_a_mark_of_another_accounts_process_counts_for_nothing_and_is_not_even_read() -> None:
    case = Case()
    thief = ProcessInfo(300, 1, 300, BORN + 50)
    assert case.found(FIRST, thief, uids={300: OTHER}, marks={300: "one"})[0] == {100}
    assert 300 not in case.reader.read
    assert case.membership.foreign == {}


@pytest.mark.parametrize("uid", [APP, ROOT])
def test_a_session_of_another_program_does_not_belong_to_the_launch_because_one_process_does(uid: int) -> None:
    shell = ProcessInfo(77, 1, 77, BORN - 500)
    marked, beside = ProcessInfo(101, 77, 77, BORN + 1), ProcessInfo(102, 77, 77, BORN + 1)
    case = Case(uid=uid)
    uids = {100: uid, 101: uid, 102: uid, 77: ROOT}
    assert case.found(FIRST, shell, marked, beside, uids=uids, marks={101: "one"})[0] == {100, 101}


def test_another_accounts_process_in_our_session_is_not_ours() -> None:
    case = Case()
    assert case.found(FIRST, ProcessInfo(300, 1, FIRST.session, BORN + 50), uids={300: OTHER})[0] == {100}
    assert case.membership.foreign == {}


def test_a_descendant_of_another_account_is_foreign_and_not_counted() -> None:
    sudo, command = ProcessInfo(101, FIRST.pid, 101, BORN + 1), ProcessInfo(102, 101, 101, BORN + 2)
    back = ProcessInfo(103, 102, 103, BORN + 3)
    case = Case()
    assert case.found(FIRST, sudo, command, back, uids={101: ROOT, 102: OTHER})[0] == {100, 103}
    members = case.membership.members(case.first)
    assert [entry.pid for entry in members.live] == [100, 103]
    assert {entry.pid for entry in members.foreign} == {101, 102}


def test_a_descendant_of_a_launch_by_root_can_have_any_account_but_a_mark_counts_for_root_only() -> None:
    case = Case(uid=ROOT)
    worker, stranger = ProcessInfo(101, FIRST.pid, 101, BORN + 1), ProcessInfo(300, 1, 300, BORN + 1)
    marks = {101: "one", 300: "one"}
    assert case.found(FIRST, worker, stranger, uids={100: ROOT, 101: OTHER, 300: OTHER}, marks=marks)[0] == {100, 101}
    assert case.reader.read == set()


def test_a_child_that_became_another_account_is_foreign() -> None:
    case = Case()
    assert case.found(FIRST, uids={100: ROOT})[0] == set()
    assert [entry.pid for entry in case.membership.members(case.first).foreign] == [100]
