from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.address import TcpAddress
from rainbowd.config import Bake
from rainbowd.deploy.generations.error_rate import Counts
from rainbowd.deploy.generations.error_watch import FAILURES_MAX, ErrorWatch
from rainbowd.deploy.generations.recent_errors import RecentErrors
from rainbowd.roster import Generation, Roster

if TYPE_CHECKING:
    from trio.testing import MockClock


def generation(number: int = 1) -> Generation:
    return Generation(number, Path("/a"), TcpAddress("127.0.0.1", 1))


def serve(one: Generation, count: int, *, failed: int = 0, what: str = "GET /: 500") -> None:
    one.requests += count
    for _ in range(failed):
        one.count_error(what)


async def test_the_recent_errors_are_those_of_the_live_generation_within_the_window(autojump: MockClock) -> None:
    del autojump
    roster = Roster()
    old, new = generation(1), generation(2)
    for one in (old, new):
        roster.add(one)
    recent = RecentErrors(roster, lambda: 10.0)
    assert recent.over(10) == Counts()
    roster.promote(old, live_at=0.0)
    recent.restart()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recent.run)
        serve(old, 100, failed=50)  # long ago
        await trio.sleep(60)
        serve(old, 20, failed=1)
        await trio.sleep(5)
        assert recent.over(10) == Counts(20, 1)
        roster.promote(new, live_at=1.0)
        recent.restart()
        serve(new, 3, failed=1)
        assert recent.over(10) == Counts(3, 1)
        await trio.sleep(30)
        serve(new, 2)
        assert recent.over(10) == Counts(2, 0)
        nursery.cancel_scope.cancel()


def test_a_watch_counts_from_its_beginning_and_fails_once() -> None:
    one = generation()
    serve(one, 500, failed=100)
    failed: list[bool] = []
    before = Counts(1000, 2)
    watch = ErrorWatch(one, Bake(seconds=60), lambda: before, lambda: failed.append(True), where="before the switch")
    serve(one, 75, failed=4, what="GET /basket: 500")
    assert not failed
    serve(one, 5, failed=1, what="GET /: 502")
    assert failed
    assert watch.counts == Counts(80, 5)
    expected = "5 of 80 requests failed (6.2 %; 0.2 % before the switch), most of them GET /basket: 500"
    assert watch.describe() == expected
    watch.close()
    one.count_error("GET /: 500")


def test_a_watch_keeps_a_limited_number_of_different_failures() -> None:
    one = generation()
    watch = ErrorWatch(one, Bake(seconds=60), Counts, lambda: None, where="before the switch")
    for number in range(2 * FAILURES_MAX):
        serve(one, 1, failed=1, what=f"GET /{number}: 500")
    assert len(watch._failures) == FAILURES_MAX
