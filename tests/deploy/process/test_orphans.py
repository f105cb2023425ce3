from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rainbowd.deploy.process import orphans
from rainbowd.deploy.process.members import Entry
from rainbowd.deploy.process.reaping import await_status, let_go

if TYPE_CHECKING:
    from collections.abc import Iterator

US, OLDER, YOUNGER = os.getpid(), "the older", "the younger"
PID = (1 << 22) + 1  # of no process, so that it has no environment


@pytest.fixture(autouse=True)
def owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two, which began at 100 and at 200."""
    monkeypatch.setattr(orphans, "_begun", {})
    orphans.begin(OLDER, 100)
    orphans.begin(YOUNGER, 200)


def found(owner: object, start_time: int, *, parent: int = US, session: int = PID, ended: bool = False) -> bool:
    return orphans.of(owner, {PID: Entry(PID, parent, session, start_time, ended)}) == {PID: start_time}


def test_what_began_while_there_was_one_is_that_ones() -> None:
    assert (found(OLDER, 150), found(YOUNGER, 150)) == (True, False)


@pytest.mark.parametrize(("first", "last"), [(OLDER, YOUNGER), (YOUNGER, OLDER)])
def test_what_may_be_of_several_is_of_the_last_of_them(first: str, last: str) -> None:
    assert (found(first, 250), found(last, 250)) == (False, False)
    orphans.end(first)
    assert found(last, 250)
    assert not found(first, 250)


def test_what_is_older_than_all_of_them_is_a_strangers() -> None:
    assert not found(OLDER, 99)


def test_what_has_not_come_to_us_or_has_ended_is_none() -> None:
    assert not found(OLDER, 150, parent=1)
    assert not found(OLDER, 150, session=os.getsid(0))
    assert not found(OLDER, 150, ended=True)


def test_what_has_a_mark_is_whose_mark_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "environment", lambda _pid: b"A=1\0RAINBOWD_STATE_DIR=/elsewhere\0")
    assert not found(OLDER, 150)


@pytest.fixture
def child() -> Iterator[None]:
    await_status(PID, 150)
    yield
    let_go(PID, 150)


@pytest.mark.usefixtures("child")
def test_a_child_that_was_launched_is_no_orphan() -> None:
    assert not found(OLDER, 150)


def test_an_init_takes_nobody_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert not found(OLDER, 150, parent=1)
