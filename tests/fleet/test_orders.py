"""What deployers write, from what they see; and what a machine remembers."""

from __future__ import annotations

from typing import Any

import pytest

from rainbowd.errors import UsageError
from rainbowd.fleet import orders
from rainbowd.fleet.documents import HISTORY_MAX, Documents, parse, progress_puts
from rainbowd.fleet.engine import Snapshot, StoredValue
from rainbowd.fleet.local_record import OwnDeploy, Record, read, write
from rainbowd.fleet.models import Lock, Member, Order, Phase, Presence, Progress, State, Turn, UnreadableDocument
from rainbowd.fleet.orders import Author, Policy, Refused, UnderWay, plan_waves

ANN = Author("ann@ci", "fix", "2026-11-30T10:00:00.000Z")
POLICY = Policy("1,100%", 1, 10, "rollback", 0)
FIVE = ["a", "b", "c", "d", "e"]


def order(**changes: Any) -> Order:
    usual: dict[str, Any] = {"id": 7, "request": "r", "release": "v2", "previous": "v1", "by": "bob", "at": ANN.at}
    return Order(**{**usual, "waves": (("a",),), **changes})


def documents(**changes: Any) -> Documents:
    present = {name: Presence(machine=name, version="1") for name in ("b", "a")}
    members = {name: Member(release="v2") for name in ("a", "b", "c")}
    usual: dict[str, Any] = {"snapshot": Snapshot(1, {}), "present": present, "members": members}
    return Documents(**{**usual, **changes})


@pytest.mark.parametrize(
    ("spec", "waves"),
    [
        ("1,100%", (("a",), ("b", "c", "d", "e"))),
        ("1,3,100%", (("a",), ("b", "c"), ("d", "e"))),
        ("25%", (("a", "b"), ("c", "d", "e"))),
        ("1", (("a",), ("b", "c", "d", "e"))),
        ("100%", (("a", "b", "c", "d", "e"),)),
        ("9", (("a", "b", "c", "d", "e"),)),
        ("d b, 100%", (("b", "d"), ("a", "c", "e"))),
    ],
)
def test_waves_are_planned(spec: str, waves: orders.Waves) -> None:
    assert plan_waves(spec, FIVE) == waves


@pytest.mark.parametrize("spec", ["", "x", "1,,2", "a a2"])
def test_waves_that_name_no_member_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        plan_waves(spec, FIVE)


def test_an_order_is_for_those_that_are_present_in_their_order() -> None:
    made = orders.new_order(documents(), "r1", "v3", POLICY, ANN)
    assert (made.id, made.release, made.previous, made.waves) == (1, "v3", None, (("a",), ("b",)))
    ranks = {"a": Member(rank=5), "b": Member(rank=1)}
    assert orders.new_order(documents(members=ranks), "r1", "v3", POLICY, ANN).waves == (("b",), ("a",))


def test_an_order_without_a_release_is_for_the_present_one() -> None:
    done = documents(order=order(), progress=Progress(order=7, phase=Phase.SUCCEEDED))
    again = orders.new_order(done, "r1", None, POLICY, ANN)
    assert (again.id, again.release, again.previous) == (8, "v2", "v2")


def test_an_order_under_way_a_lock_and_an_absence_refuse() -> None:
    rolling = documents(order=order(), progress=Progress(order=7, phase=Phase.ROLLING))
    with pytest.raises(UnderWay, match=r"rollout 7 of v2 by bob is under way since .* \(rolling, wave 1 of 1\)"):
        orders.new_order(rolling, "r1", "v3", POLICY, ANN)
    locked = documents(lock=Lock(by="bob", note="freeze", at=ANN.at))
    with pytest.raises(UnderWay, match=r"locked by bob since .*: freeze"):
        orders.new_order(locked, "r1", "v3", POLICY, ANN)
    with pytest.raises(Refused, match="not all members are present: c"):
        orders.new_order(documents(), "r1", "v3", Policy("1", 1, 0, "halt", 0, requires_all=True), ANN)
    with pytest.raises(Refused, match="no member"):
        orders.new_order(documents(present={}), "r1", "v3", POLICY, ANN)


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "a b", "", "x\n", "-x"])
def test_a_release_that_is_no_bare_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        orders.new_order(documents(members={}), "r1", name, POLICY, ANN)
    with pytest.raises(UnreadableDocument):
        Order.parse("order", order().encode().replace('"v2"', f'"{name}"'))


def test_a_rollback_goes_to_the_release_before_at_once() -> None:
    done = documents(order=order(), progress=Progress(order=7, phase=Phase.SUCCEEDED))
    made = orders.rollback_order(done, "r1", ANN)
    assert (made.release, made.waves, made.parallel, made.bake, made.rollback) == ("v1", (("a", "b"),), 2, 0, True)
    with pytest.raises(Refused, match="no order was for another release than v2"):
        orders.rollback_order(documents(order=order(previous=None), progress=done.progress), "r1", ANN)


def test_only_a_rollout_under_way_is_paused_or_aborted() -> None:
    rolling = documents(order=order(), progress=Progress(order=7, phase=Phase.ROLLING))
    assert orders.paused(rolling, is_paused=True).paused
    halted = orders.aborted(rolling, ANN, halts=True)
    assert (halted.abort, halted.on_failure) == ("aborted by ann@ci", "halt")
    with pytest.raises(Refused):
        orders.paused(documents(), is_paused=True)


def test_the_write_that_ends_a_rollout_keeps_the_newest_histories() -> None:
    entries = {f"history/{number:08d}": StoredValue("{}", 1) for number in range(1, 61)}
    rolling = documents(
        order=order(id=61), progress=Progress(order=61, phase=Phase.BAKING), snapshot=Snapshot(1, entries)
    )
    puts = progress_puts(rolling, order(id=61), Progress(order=61, phase=Phase.SUCCEEDED))
    kept = (entries.keys() | puts.keys()) - {key for key, value in puts.items() if value is None} - {"progress"}
    assert len(kept) == HISTORY_MAX
    assert "history/00000061" in kept
    assert progress_puts(rolling, order(id=61), Progress(order=61, phase=Phase.ROLLING)).keys() == {"progress"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2, "order": 1, "phase": "rolling"}',
        '{"format": 1, "order": "1", "phase": "rolling"}',
        '{"format": 1, "order": 1, "phase": "rolling", "more": 1}',
        '{"format": 1, "order": 1, "phase": "gone"}',
    ],
)
def test_a_document_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UnreadableDocument, match="progress: "):
        parse(Snapshot(1, {"progress": StoredValue(text, 1)}))


def test_every_document_survives_its_encoding() -> None:
    progress = Progress(order=1, phase=Phase.ROLLING, members={"a": Turn(state=State.LIVE, deploy="x", first=True)})
    for document in (order(), progress, Lock(by="a", note="b", at="c"), Member(release="v1", output=("x",))):
        assert type(document).parse("key", document.encode()) == document


def own(release: str, *, order: int = 7, is_revert: bool = False, before: str = "v1") -> OwnDeploy:
    return OwnDeploy(request=f"{order}-{release}", order=order, release=release, is_revert=is_revert, before=before)


def test_a_record_knows_what_to_go_back_to() -> None:
    record = Record(link="v1").begin(own("v2")).finish(None)
    assert (record.flipped, record.before, record.link) == (7, "v1", "v2")
    back = record.begin(own("v1", is_revert=True, before="v2")).finish(None)
    assert (back.flipped, back.before, back.link) == (None, None, "v1")
    failed = record.begin(own("v3", order=8, before="v2")).finish("exited")
    assert (failed.flipped, failed.link) == (7, "v2")


def test_a_record_tells_orders_of_the_same_number_apart() -> None:
    first = own("v2").model_copy(update={"ordered_by": "r"})
    record = Record(link="v1").begin(first).finish(None)
    assert record.has_flipped(order())
    assert not record.has_flipped(order(request="s"))
    again = own("v3", before="v2").model_copy(update={"request": "again", "ordered_by": "s"})
    assert record.begin(again).finish(None).before == "v2"


def test_a_link_by_hand_stays_by_hand_after_the_way_back() -> None:
    record = Record(link="v1")
    assert record.is_by_hand("v9")
    assert not record.is_by_hand("v1")
    assert not Record().is_by_hand("v9"), "nobody knows who changed the link of a new machine"
    taken = record.begin(own("v2", before="v9")).finish(None)
    assert not taken.is_by_hand("v2")
    back = taken.begin(own("v9", is_revert=True, before="v2")).finish(None)
    assert back.is_by_hand("v9")
    assert not back.join("v9").is_by_hand("v9")


def test_a_record_is_kept_on_disk(tmp_path: Any) -> None:
    assert read(tmp_path) == Record()
    record = Record(link="v1").begin(own("v2")).finish("exited", ("KeyError",))
    write(tmp_path, record)
    assert read(tmp_path) == record
