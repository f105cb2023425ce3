from __future__ import annotations

from pathlib import Path

from rainbowd.address import TcpAddress
from rainbowd.roster import Generation, GenerationView, Roster, RosterView, State
from tests.fake_holder import FakeHolder


def one(number: int, state: State) -> GenerationView:
    return GenerationView(number, Path("/srv/a"), TcpAddress("127.0.0.1", 20_000 + number), state)


def view(*generations: GenerationView, is_partial: bool = False, is_launch_due: bool = False) -> RosterView:
    live = next((shown.id for shown in generations if shown.state is State.LIVE), None)
    canary = next((shown.id for shown in generations if shown.state is State.CANARY), None)
    return RosterView(
        generations,
        live,
        canary,
        100.0 if canary else 0.0,
        "client",
        is_launch_due=is_launch_due,
        is_partial=is_partial,
    )


def test_a_mirror_has_the_same_view_whatever_it_was_before() -> None:
    mirror = Roster()
    for state in (
        view(one(1, State.STARTING), is_launch_due=True),
        view(one(1, State.LIVE), one(2, State.CANARY)),
        view(one(1, State.STANDBY), one(2, State.LIVE), one(3, State.STARTING)),
        view(one(1, State.LIVE), one(2, State.DRAINING)),
        view(is_launch_due=True),
    ):
        mirror.mirror(state)
        assert mirror.view() == state


def test_the_leases_of_a_mirror_stay_and_a_generation_that_is_gone_serves_nobody() -> None:
    mirror, holder = Roster(), FakeHolder()
    mirror.mirror(view(one(1, State.LIVE)))
    generation = mirror.lease(holder)
    assert generation is not None
    mirror.mirror(view(one(2, State.LIVE), one(1, State.DRAINING)))
    assert mirror.generations[1] is generation
    assert generation.holders == {holder}
    mirror.mirror(view(one(2, State.LIVE)))
    assert list(mirror.generations) == [2]
    assert not generation.is_serving
    generation.release_lease(holder)
    assert not generation.holders


def test_a_canary_of_the_other_roster_gets_its_share_here() -> None:
    mirror = Roster()
    mirror.mirror(view(one(1, State.LIVE), one(2, State.CANARY)))
    assert mirror.lease(FakeHolder()) is mirror.generations[2]
    mirror.mirror(view(one(1, State.LIVE), one(2, State.DRAINING)))
    assert mirror.lease(FakeHolder()) is mirror.generations[1]


def test_a_partial_view_leaves_the_others_in_place() -> None:
    mirror = Roster()
    mirror.mirror(view(one(1, State.LIVE)))
    mirror.mirror(view(one(2, State.LIVE), is_partial=True))
    assert mirror.live is mirror.generations[2]
    assert mirror.generations[1].state is State.STANDBY


def test_observers_are_notified_until_they_are_forgotten() -> None:
    roster = Roster()
    calls: list[str] = []

    def observer() -> None:
        calls.append("observer")
        roster.forget_observer(observer)

    roster.observe(observer)
    roster.observe(lambda: calls.append("other"))
    roster.add(Generation(1, Path("/srv/a"), TcpAddress("127.0.0.1", 20_001)))
    roster.notify_observers()
    assert calls == ["observer", "other", "other"]
