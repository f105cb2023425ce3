"""The companion processes of generations, on virtual time."""

from __future__ import annotations

import contextlib
import gc
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.config import Config, ProcessSettings
from rainbowd.deploy.context import DeployContext
from rainbowd.deploy.generations.agent_ownership import Ownership
from rainbowd.deploy.generations.companions import Companions
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.roster import Generation, Roster
from tests.bugs import no_bugs
from tests.fake_companions import CompanionBehaviour, FakeCompanions
from tests.fakes import Events, FakeHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("autojump")


def plan(release: str = "a", **processes: Any) -> LaunchPlan:
    settings = {name: ProcessSettings(run="work", **keys) for name, keys in processes.items()}
    return LaunchPlan(Path("/releases") / release, Config(run="app", warmup=0, processes=settings), {})


def generation(number: int) -> Generation:
    return Generation(number, Path("/releases/a"), TcpAddress("127.0.0.1", 20000 + number))


class Site:
    """Companions on a fake host, and those of the next agent."""

    def __init__(self, host: FakeCompanions, nursery: trio.Nursery, *, is_complete: bool = True) -> None:
        self.host = host
        self.events = Events()
        self.ownership = Ownership(is_complete=is_complete)
        self.stop_now = trio.Event()
        recorder: Any = self.events
        machine = FakeHost(companions=host)
        self.roster = Roster()
        self.companions = Companions(
            DeployContext(self.roster, recorder, machine, self.ownership, nursery, self.stop_now)
        )
        self.companions.strays_ended.set()

    def go_live(self, number: int, launched: LaunchPlan) -> Generation:
        live = generation(number)
        self.roster.add(live)
        self.companions.went_live(live, launched)
        return live

    def running(self) -> list[str]:
        return [f"{one.generation_id} {one.instance}" for one in self.host.running()]


@contextlib.asynccontextmanager
async def site(**behaviours: CompanionBehaviour) -> AsyncIterator[Site]:
    """Yield a site; at the end its agent stops, and nothing is left."""
    host = FakeCompanions()
    host.companion_behaviours.update(behaviours)
    with no_bugs():
        async with trio.open_nursery() as nursery:
            found = Site(host, nursery)
            yield found
            found.companions.end()
            nursery.cancel_scope.cancel()
    assert host.running() == []


@contextlib.asynccontextmanager
async def killed_agent(host: FakeCompanions) -> AsyncIterator[Site]:
    """Yield a site on ``host``; at the end its agent is killed, and leaves what runs."""
    async with trio.open_nursery() as nursery:
        found = Site(host, nursery)
        yield found
        host.is_killed = True
        found.stop_now.set()
        nursery.cancel_scope.cancel()
    host.is_killed = False
    assert host.open_companions == 0


async def test_companions_start_when_their_generation_goes_live_and_end_when_another_does() -> None:
    async with site() as found:
        live = found.go_live(1, plan(worker={"instances": 2}, beat={}))
        await trio.sleep(1)
        assert sorted(found.running()) == ["1 beat.1", "1 worker.1", "1 worker.2"]
        assert [(one.name, one.instance, one.state) for one in live.processes] == [
            ("beat", 1, "running"),
            ("worker", 1, "running"),
            ("worker", 2, "running"),
        ]
        found.go_live(2, plan("b", worker={}))
        await trio.sleep(0.1)
        assert sorted(found.running()) == ["1 beat.1", "1 worker.1", "1 worker.2", "2 worker.1"]
        await trio.sleep(1)
        assert found.running() == ["2 worker.1"]


async def test_a_superseded_generation_waits_for_its_companions() -> None:
    async with site(worker=CompanionBehaviour(stops_after=30)) as found:
        found.go_live(1, plan(worker={}))
        await trio.sleep(1)
        found.go_live(2, plan("b", worker={}))
        since = trio.current_time()
        await found.companions.until_ended(1)
        assert 30 <= trio.current_time() - since < 31
        with trio.move_on_after(1) as waiting:
            await found.companions.until_ended(2)
        assert not waiting.cancelled_caught  # the live generation's are not waited for: they do not end


async def test_without_overlap_the_new_one_starts_after_the_old_one_has_ended() -> None:
    async with site(beat=CompanionBehaviour(stops_after=20)) as found:
        found.go_live(1, plan(beat={"overlap": False}))
        await trio.sleep(1)
        for number in (2, 3, 4):
            live = found.go_live(number, plan("b", beat={"overlap": False}))
        await trio.sleep(10)
        assert found.running() == ["1 beat.1"]
        assert [one.state for one in live.processes] == ["waiting"]
        await trio.sleep(11)
        assert found.running() == ["4 beat.1"]


async def test_a_thousand_deploys_leave_nothing_of_the_generations_that_have_ended() -> None:
    async with site() as found:
        plans = []
        for number in range(1, 6):
            launched = plan(worker={}, beat={"overlap": False})
            plans.append(weakref.ref(launched))
            found.go_live(number, launched)
            del launched
            await trio.sleep(0.1)  # so that the groups before it have not ended yet
        await trio.sleep(10)
        found.go_live(6, plan("b", worker={}))
        await trio.sleep(10)
        found.go_live(7, plan("b", worker={}))
        found.host.companions.clear()
        gc.collect()
        assert [one() for one in plans] == [None] * 5


async def test_a_companion_that_exits_is_started_again_with_a_growing_delay() -> None:
    async with site(worker=CompanionBehaviour(exits_after=1, status=3)) as found:
        live = found.go_live(1, plan(worker={}))
        await trio.sleep(0.5)
        assert live.processes[0].pid == 5000
        await trio.sleep(20)
        started = [one["restarts"] for one in found.events.named("process.started")]
        assert started == list(range(len(started)))
        assert len(started) == 6  # after 0, 1, 2.5, 4.5, 7.5 and 12.5 s
        exited = found.events.named("process.exited")[0]
        assert exited["output"] == ["last words of worker.1"]
        assert (exited["process"], exited["instance"], exited["expected"]) == ("worker", 1, False)
        assert live.processes[0].exits_in_a_row == 6


async def test_a_minute_of_running_ends_a_crash_loop() -> None:
    async with site(worker=CompanionBehaviour(exits_after=61)) as found:
        live = found.go_live(1, plan(worker={}))
        await trio.sleep(200)
        assert len(found.events.named("process.started")) == 4
        assert live.processes[0].exits_in_a_row == 1


async def test_one_that_cannot_be_started_is_tried_again() -> None:
    behaviour = CompanionBehaviour(launch_error="processes.worker.run: command not found: celery")
    async with site(worker=behaviour) as found:
        live = found.go_live(1, plan(worker={}))
        await trio.sleep(1)
        assert live.processes[0].exits_in_a_row >= 2
        exited = found.events.named("process.exited")[0]
        assert (exited["reason"], exited["exit_status"]) == (behaviour.launch_error, None)
        behaviour.launch_error = None
        await trio.sleep(5)
        assert found.running() == ["1 worker.1"]


async def test_a_relaunch_from_the_same_plan_takes_over_those_that_are_well() -> None:
    async with site() as found:
        launched = plan(worker={})
        crashed = found.go_live(1, launched)
        await trio.sleep(1)
        live = found.go_live(2, launched)
        assert crashed.processes == []
        await found.companions.until_ended(1)  # the crashed generation has none to wait for
        await trio.sleep(1)
        assert found.running() == ["2 worker.1"]
        assert len(found.host.companions) == 1
        assert live.processes[0].pid == 5000


async def test_a_restart_by_hand_has_no_delay_and_is_no_crash() -> None:
    async with site() as found:
        live = found.go_live(1, plan(worker={"instances": 2}, beat={}))
        await trio.sleep(1)
        found.companions.restart("worker", by="me", request="r")
        found.companions.restart("mailer")
        await trio.sleep(1)
        assert sorted(one.instance.name for one in found.host.companions) == [
            "beat",
            "worker",
            "worker",
            "worker",
            "worker",
        ]
        assert [one.exits_in_a_row for one in live.processes] == [0, 0, 0]
        assert [one.restarts for one in live.processes] == [0, 1, 1]
        requested = found.events.named("process.restarting")
        assert [(one["process"], one["instances"]) for one in requested] == [("worker", 2), ("mailer", 0)]
        assert (requested[0]["by"], requested[0]["request"]) == ("me", "r")


async def test_a_restart_by_hand_cuts_a_delay_short() -> None:
    behaviour = CompanionBehaviour(exits_after=0.01)
    async with site(worker=behaviour) as found:
        found.go_live(1, plan(worker={}))
        await trio.sleep(100)
        behaviour.exits_after = 1e9
        before = len(found.host.companions)
        found.companions.restart("worker")
        await trio.sleep(0.1)
        assert len(found.host.companions) == before + 1
        await trio.sleep(100)
        assert len(found.running()) == 1


async def test_an_upgrade_leaves_them_untouched_and_the_next_agent_watches_them() -> None:
    host, launched = FakeCompanions(), plan(worker={"instances": 2}, beat={"overlap": False})
    async with trio.open_nursery() as nursery:
        old = Site(host, nursery)
        old.go_live(1, launched)
        await trio.sleep(1)
        old.ownership.give_up()
        nursery.cancel_scope.cancel()
    first = next(one for one in host.companions if str(one.instance) == "worker.1")  # they start in any order
    first.die()  # while neither agent watches it
    async with trio.open_nursery() as nursery:
        new = Site(host, nursery, is_complete=False)
        new.companions.recall([1])
        live = new.go_live(1, launched)
        await trio.sleep(1)
        assert sorted(new.running()) == ["1 beat.1", "1 worker.2"]
        new.ownership.complete()
        await trio.sleep(5)
        assert sorted(new.running()) == ["1 beat.1", "1 worker.1", "1 worker.2"]
        assert sum(one.signals for one in host.companions) == 0
        assert len(live.processes) == 3
        new.companions.end()
        nursery.cancel_scope.cancel()
    assert host.running() == []


async def test_one_that_was_signalled_is_not_signalled_again_by_the_next_agent() -> None:
    host = FakeCompanions()
    host.companion_behaviours["worker"] = CompanionBehaviour(stops_after=30)
    old_plan, new_plan = plan(worker={"overlap": False}), plan("b", worker={"overlap": False})
    async with killed_agent(host) as old:
        old.go_live(1, old_plan)
        await trio.sleep(1)
        old.go_live(2, new_plan)
        await trio.sleep(1)
    async with trio.open_nursery() as nursery:
        new = Site(host, nursery)
        new.companions.recall([2])
        new.go_live(2, new_plan)
        await trio.sleep(20)
        assert new.running() == ["1 worker.1"]
        await trio.sleep(20)
        assert new.running() == ["2 worker.1"]
        assert host.companions[0].signals == 1
        new.companions.end()
        nursery.cancel_scope.cancel()


async def test_those_of_a_generation_that_is_gone_are_ended_before_others_start() -> None:
    host = FakeCompanions()
    host.companion_behaviours["beat"] = CompanionBehaviour(stops_after=5)
    async with killed_agent(host) as old:
        old.go_live(1, plan(beat={"overlap": False}))
        await trio.sleep(1)
    async with trio.open_nursery() as nursery:
        new = Site(host, nursery)
        new.companions.recall([])
        new.go_live(2, plan("b", beat={"overlap": False}))
        await trio.sleep(4)
        assert new.running() == ["1 beat.1"]
        await trio.sleep(2)
        assert new.running() == ["2 beat.1"]
        new.companions.end()
        nursery.cancel_scope.cancel()


async def test_those_of_a_live_generation_that_died_end_before_those_of_the_standby_start() -> None:
    host = FakeCompanions()
    host.companion_behaviours["beat"] = CompanionBehaviour(stops_after=5)
    async with killed_agent(host) as old:
        old.go_live(2, plan("b", beat={"overlap": False}))
        await trio.sleep(1)
    async with trio.open_nursery() as nursery:
        new = Site(host, nursery)
        new.companions.recall([2])
        new.go_live(1, plan(beat={"overlap": False}))  # the app of generation 2 has died with the agent
        await trio.sleep(4)
        assert new.running() == ["2 beat.1"]
        await trio.sleep(2)
        assert new.running() == ["1 beat.1"]
        new.companions.end_recorded()
        new.companions.end()
        nursery.cancel_scope.cancel()


async def test_one_that_must_be_alone_waits_for_processes_without_a_record_and_others_do_not() -> None:
    async with site() as found:
        found.companions.strays_ended = trio.Event()
        found.go_live(1, plan(worker={}, beat={"overlap": False}))
        await trio.sleep(100)
        assert found.running() == ["1 worker.1"]
        found.companions.strays_ended.set()
        await trio.sleep(1)
        assert sorted(found.running()) == ["1 beat.1", "1 worker.1"]


async def test_one_that_waits_for_processes_without_a_record_ends_with_its_generation() -> None:
    async with site() as found:
        found.companions.strays_ended = trio.Event()
        found.go_live(1, plan(beat={"overlap": False}))
        found.go_live(2, plan("b"))
        with trio.fail_after(1):
            await found.companions.until_ended(1)
        assert found.host.companions == []
