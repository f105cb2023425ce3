"""What a member decides, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from rainbowd.fleet.decide import decide, wanted
from rainbowd.fleet.local_record import OwnDeploy, Record
from rainbowd.fleet.models import Order, Phase, Progress, State, Turn
from rainbowd.fleet.view import Deploy, Local, Prepare, Timer, View, Wait, Write, next_timer_seconds, place, timers

ALL = frozenset({"a", "b", "c"})


def order(**changes: Any) -> Order:
    """An order of v2 for three members, the first of them alone."""
    usual: dict[str, Any] = {"id": 7, "request": "r", "release": "v2", "previous": "v1", "by": "ann", "at": ""}
    return Order(**{**usual, "waves": (("a",), ("b", "c")), "bake": 10, **changes})


def progress(phase: Phase, wave: int = 0, reason: str | None = None, **states: State) -> Progress:
    """A document with a turn for each member that is named."""
    members = {name: Turn(state=state, deploy=f"{name}-1") for name, state in states.items()}
    return Progress(order=7, phase=phase, wave=wave, members=members, reason=reason)


def view(now: Progress | None, **changes: Any) -> View:
    """What member a sees."""
    usual: dict[str, Any] = {"me": "a", "order": order(), "progress": now, "present": ALL}
    return View(**{**usual, "local": Local(release="v1"), "grace": 60, **changes})


def written(found: object) -> Progress:
    """The document that a decision writes."""
    assert isinstance(found, Write), found
    return found.progress


def done(release: str = "v2", *, failure: str | None = None, is_revert: bool = False, **changes: Any) -> Record:
    """What a machine remembers of a deploy for the turn a-1."""
    own = OwnDeploy(
        request="a-1", order=7, release=release, before="v1", is_revert=is_revert, is_done=True, failure=failure
    )
    return Record(attempt=own, **changes)


def test_without_an_order_there_is_nothing_to_do() -> None:
    assert decide(view(None, order=None)) == Wait()


def test_an_order_begins_with_preparing() -> None:
    assert written(decide(view(None))).phase is Phase.PREPARING


def test_an_order_does_not_begin_while_someone_deploys_for_the_one_before() -> None:
    old = Progress(order=6, phase=Phase.HALTED, members={"b": Turn(state=State.CLAIMED, deploy="b-1")})
    assert decide(view(old)) == Wait()


def test_a_member_prepares_and_reports_it() -> None:
    now = progress(Phase.PREPARING)
    assert decide(view(now)) == Prepare("v2")
    ready = written(decide(view(now, local=Local(release="v1", prepared="r"))))
    assert ready.members["a"].state is State.PREPARED
    failed = written(decide(view(now, local=Local(release="v1", prepared="r", unprepared="no such release"))))
    assert failed.members["a"] == Turn(state=State.FAILED, reason="no such release")


def test_a_member_that_cannot_prepare_fails_the_rollout_even_if_failures_are_tolerated() -> None:
    now = progress(Phase.PREPARING, a=State.PREPARED, b=State.FAILED)
    assert written(decide(view(now, order=order(max_failures=2)))).phase is Phase.FAILED


def test_only_present_members_are_waited_for_while_preparing() -> None:
    now = progress(Phase.PREPARING, a=State.PREPARED, b=State.PREPARED)
    assert decide(view(now)) == Wait()
    assert written(decide(view(now, present=frozenset("ab")))).phase is Phase.ROLLING


@pytest.mark.parametrize(
    ("me", "states", "changes", "takes"),
    [
        ("a", {}, {}, True),
        ("b", {}, {}, False),
        ("a", {}, {"paused": True}, False),
        ("a", {"b": State.CLAIMED}, {}, False),
        ("a", {"b": State.CLAIMED}, {"parallel": 2}, True),
    ],
)
def test_a_member_of_the_wave_takes_a_free_turn(
    me: str, states: dict[str, State], changes: dict[str, Any], takes: bool
) -> None:
    found = decide(view(progress(Phase.ROLLING, 0, None, **states), me=me, order=order(**changes), new_request="a-9"))
    assert isinstance(found, Write) == takes
    if takes:
        assert written(found).members["a"] == Turn(state=State.CLAIMED, deploy="a-9", first=not states)


def test_turns_are_taken_in_order() -> None:
    now = progress(Phase.ROLLING, wave=1, a=State.LIVE)
    assert decide(view(now, me="c")) == Wait()
    assert isinstance(decide(view(now, me="b")), Write)
    assert isinstance(decide(view(now, me="c", order=order(parallel=2))), Write)


def test_a_turn_deploys_and_its_outcome_is_reported() -> None:
    now = progress(Phase.ROLLING, a=State.CLAIMED)
    assert decide(view(now)) == Deploy("v2", "a-1", 7)
    live = written(decide(view(now, local=Local(record=done(flipped=7, before="v1"), release="v2"))))
    assert live.members["a"].state is State.LIVE
    failed = written(decide(view(now, local=Local(record=done(failure="exited"), release="v1"))))
    assert (failed.members["a"].state, failed.members["a"].reason) == (State.FAILED, "exited")


def test_an_absent_member_in_its_turn_is_lost_after_the_grace() -> None:
    now = progress(Phase.ROLLING, wave=1, a=State.LIVE, b=State.CLAIMED)
    absent: dict[Timer, float] = {("absent", "b"): 59}
    seen = view(now, present=frozenset("ac"), elapsed=absent)
    assert decide(seen) == Wait()
    assert next_timer_seconds(seen) == 1
    lost = written(decide(view(now, present=frozenset("ac"), elapsed={("absent", "b"): 60})))
    assert lost.members["b"].state is State.LOST


def test_an_absent_member_before_its_turn_is_skipped_after_the_grace() -> None:
    now = progress(Phase.ROLLING, wave=1, a=State.LIVE, b=State.LIVE)
    assert decide(view(now, present=frozenset("ab"))) == Wait()
    skipped = written(decide(view(now, present=frozenset("ab"), elapsed={("absent", "c"): 60})))
    assert (skipped.phase, "c" in skipped.members) == (Phase.BAKING, False)


def test_a_wave_that_reached_no_member_halts() -> None:
    now = progress(Phase.ROLLING)
    halted = written(decide(view(now, me="b", present=frozenset("bc"), elapsed={("absent", "a"): 60})))
    assert (halted.phase, halted.reason) == (Phase.HALTED, "wave 1 reached no member")


def test_a_wave_bakes_before_the_next() -> None:
    now = progress(Phase.BAKING, a=State.LIVE)
    assert timers(view(now)) == {("bake", "7", "0")}
    assert decide(view(now, elapsed={("bake", "7", "0"): 9.9})) == Wait()
    following = written(decide(view(now, elapsed={("bake", "7", "0"): 10})))
    assert (following.phase, following.wave) == (Phase.ROLLING, 1)
    last = progress(Phase.BAKING, wave=1, a=State.LIVE, b=State.LIVE, c=State.LIVE)
    assert written(decide(view(last, elapsed={("bake", "7", "1"): 10}))).phase is Phase.SUCCEEDED


def test_a_bake_waits_for_a_member_that_is_absent_for_a_moment() -> None:
    now = progress(Phase.BAKING, a=State.LIVE)
    assert decide(view(now, me="b", present=frozenset("bc"), elapsed={("bake", "7", "0"): 11})) == Wait()


def test_trouble_during_the_bake_is_a_failure() -> None:
    now = progress(Phase.BAKING, a=State.LIVE)
    local = Local(record=done(flipped=7, before="v1"), release="v2", trouble="crashed: exit status 1")
    failed = written(decide(view(now, local=local)))
    assert failed.members["a"].state is State.FAILED
    back = written(decide(view(failed, local=local)))
    assert back.phase is Phase.ROLLING_BACK
    assert decide(view(back, me="b")) == Wait(), "a still runs the release"
    assert written(decide(view(back, local=local))).members["a"].state is State.REVERTING


def test_a_failure_rolls_back_or_halts_once_nobody_deploys() -> None:
    now = progress(Phase.ROLLING, wave=1, a=State.LIVE, b=State.FAILED)
    assert written(decide(view(now))).phase is Phase.ROLLING_BACK
    halting = order(on_failure="halt", parallel=2)
    assert written(decide(view(now, order=halting))).phase is Phase.HALTED
    busy = progress(Phase.ROLLING, wave=1, a=State.LIVE, b=State.FAILED, c=State.CLAIMED)
    assert decide(view(busy, order=halting)) == Wait()


def test_tolerated_failures_go_on() -> None:
    now = progress(Phase.ROLLING, wave=1, a=State.LIVE, b=State.FAILED, c=State.LIVE)
    assert written(decide(view(now, order=order(max_failures=1)))).phase is Phase.BAKING


def test_an_abort_is_a_failure_that_nobody_had() -> None:
    now = progress(Phase.ROLLING, wave=1, a=State.LIVE)
    assert written(decide(view(now, order=order(abort="aborted by ann")))).reason == "aborted by ann"


def test_going_back_ends_when_every_present_member_is_back() -> None:
    local = Local(record=done(flipped=7, before="v1"), release="v2")
    now = progress(Phase.ROLLING_BACK, reason="b: exited", a=State.LIVE, b=State.FAILED)
    reverting = written(decide(view(now, local=local, new_request="a-1")))
    assert decide(view(reverting, local=Local(release="v2", record=Record(flipped=7, before="v1")))) == Deploy(
        "v1", "a-1", 7, is_revert=True
    )
    assert decide(view(reverting, me="b")) == Wait()
    back = progress(Phase.ROLLING_BACK, reason="b: exited", a=State.REVERTED, b=State.FAILED)
    assert written(decide(view(back))).phase is Phase.ROLLED_BACK


def test_an_order_of_the_same_number_in_an_etcd_that_was_emptied_undoes_nothing() -> None:
    local = Local(record=Record(flipped=7, flipped_by="another command", before="v0"), release="v1", prepared="another")
    now = progress(Phase.ROLLING_BACK, reason="b: exited", a=State.PREPARED, b=State.FAILED)
    assert written(decide(view(now, local=local))).phase is Phase.ROLLED_BACK
    assert decide(view(progress(Phase.ROLLED_BACK), local=local)) == Wait()
    assert decide(view(progress(Phase.PREPARING), local=local)) == Prepare("v2")


def test_a_turn_that_was_overtaken_is_given_back() -> None:
    now = progress(Phase.ROLLING_BACK, a=State.CLAIMED, b=State.FAILED)
    assert written(decide(view(now))).members["a"].state is State.PREPARED


def test_at_rest_a_machine_that_differs_comes_to_the_release_of_the_fleet() -> None:
    now = progress(Phase.SUCCEEDED, b=State.LIVE, c=State.LIVE)
    assert written(decide(view(now))).members["a"].state is State.CLAIMED
    for local in (
        Local(release="v2"),
        Local(release="v1", is_by_hand=True),
        Local(release="v1", may_converge=False),
    ):
        assert decide(view(now, local=local)) == Wait()
    busy = progress(Phase.SUCCEEDED, b=State.CLAIMED, c=State.LIVE)
    assert decide(view(busy)) == Wait()


def test_a_halted_fleet_stays_mixed() -> None:
    assert decide(view(progress(Phase.HALTED, b=State.LIVE))) == Wait()


@pytest.mark.parametrize(
    ("phase", "release"),
    [(Phase.SUCCEEDED, "v2"), (Phase.ROLLED_BACK, "v1"), (Phase.HALTED, "v1"), (Phase.ROLLING, "v1")],
)
def test_the_release_of_the_fleet_is_that_of_the_last_success(phase: Phase, release: str) -> None:
    assert wanted(order(), progress(phase)) == release
    assert wanted(order(), None) == "v1"
    assert wanted(None, None) is None


@pytest.mark.parametrize(
    ("now", "me", "found"),
    [
        (None, "c", 2),
        (progress(Phase.PREPARING, a=State.PREPARED), "b", 0),
        (progress(Phase.PREPARING, a=State.PREPARED), "c", 1),
        (progress(Phase.PREPARING, a=State.PREPARED), "a", 2),
        (progress(Phase.ROLLING, a=State.LIVE, b=State.CLAIMED, c=State.PREPARED), "b", 0),
        (progress(Phase.ROLLING, a=State.LIVE, b=State.CLAIMED, c=State.PREPARED), "c", 0),
        (progress(Phase.ROLLING, a=State.LIVE, b=State.LIVE, c=State.PREPARED), "b", 2),
        (progress(Phase.ROLLING_BACK, a=State.REVERTED, b=State.LIVE, c=State.LIVE), "c", 1),
        (progress(Phase.BAKING, a=State.LIVE), "a", 0),
        (progress(Phase.SUCCEEDED, a=State.LIVE), "new", 3),
    ],
)
def test_members_act_in_a_line(now: Progress | None, me: str, found: int) -> None:
    present = frozenset({"a", "b", "c", *([me] if me == "new" else [])})
    assert place(view(now, me=me, present=present)) == found
