"""Members with an engine in memory, on trio's virtual clock: rollouts of large fleets, and what they cost."""

from __future__ import annotations

import collections
import errno
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.config import FleetSettings
from rainbowd.fleet import documents, local_record, orders
from rainbowd.fleet.local_deploys import Result, Standing
from rainbowd.fleet.member import Member
from rainbowd.fleet.models import Phase
from tests.fleet.memory_engine import MemoryEngine, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.fleet.local_deploys import Task

DEPLOY_SECONDS = 3.0


class Machine:
    """A machine whose deploys all take the same time."""

    def __init__(self, releases: Path) -> None:
        self.live = releases / "v1"
        self.is_bad = False

    def standing(self) -> Standing:
        return Standing(self.live, self.live, 1)

    async def deploy(self, task: Task) -> Result:
        await trio.sleep(DEPLOY_SECONDS)
        if self.is_bad:
            return Result("it exited")
        self.live = task.release
        return Result()

    async def find_result(self, _task: Task, _before: Path | None) -> Result | None:
        return None

    async def fetch(self, _task: Task) -> Result:
        return Result("there is no hook")

    def record(self, event: str, **fields: object) -> None:
        pass


class Fleet:
    """Members of one process."""

    def __init__(self, directory: Path, count: int) -> None:
        self.store = Store()
        self.engine = MemoryEngine(self.store)
        self.machines: dict[str, Machine] = {}
        self.members: list[Member] = []
        for release in ("v1", "v2"):
            (directory / "releases" / release).mkdir(parents=True)
        for name in (f"m{number:03}" for number in range(count)):
            (directory / name).mkdir()
            settings = FleetSettings.model_validate(
                {"name": "shop", "endpoints": ("http://127.0.0.1:2379",), "member": name}
            )
            machine = self.machines[name] = Machine(directory / "releases")
            self.members.append(
                Member(
                    settings,
                    lambda: MemoryEngine(self.store),
                    machine,
                    directory / name,
                    machine_id=name,
                    on_change=lambda: None,
                )
            )

    async def roll(self, release: str, *, waves: str = "1,100%", parallel: int = 1) -> tuple[Phase | None, float]:
        """Order a release; return how the rollout ended, and after how many seconds."""
        while len(documents.parse(await self.engine.snapshot()).members) < len(self.members):  # noqa: ASYNC110 - no event
            await trio.sleep(1)
        await trio.sleep(5)
        self.store.counts.clear()
        begun = trio.current_time()
        found = documents.parse(await self.engine.snapshot())
        policy = orders.Policy(waves, parallel, 0, "rollback", 0)
        order = orders.new_order(found, "r", release, policy, orders.Author("ann", None, ""))
        assert await self.engine.commit(orders.order_guards(found), {documents.ORDER: order.encode()})
        while True:
            found = documents.parse(await self.engine.snapshot())
            if not found.is_under_way:
                return found.phase, trio.current_time() - begun
            await trio.sleep(0.5)

    def live(self) -> collections.Counter[str]:
        return collections.Counter(machine.live.name for machine in self.machines.values())


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread runs near the virtual clock."""

    async def run_sync(act: Callable[..., object], *args: object) -> object:
        return act(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


@pytest.mark.usefixtures("autojump", "inline")
@pytest.mark.parametrize("count", [5, 20, pytest.param(50, marks=pytest.mark.long)])
async def test_a_large_fleet_writes_little_more_than_once_for_each_step(tmp_path: Path, count: int) -> None:
    """Members that all wrote at once would collide with each other, the more the larger the fleet is."""
    fleet = Fleet(tmp_path, count)
    async with trio.open_nursery() as nursery:
        for member in fleet.members:
            nursery.start_soon(member.run)
        phase, seconds = await fleet.roll("v2")
        nursery.cancel_scope.cancel()
    assert phase is Phase.SUCCEEDED
    assert fleet.live() == {"v2": count}
    assert seconds >= count * DEPLOY_SECONDS, "one at a time"
    counts = fleet.store.counts
    steps = 4 * count  # prepared, claimed, live, and what a member shows of itself
    assert counts["conflict"] <= 3 + count / 5, counts
    assert steps <= counts["commit"] <= steps + 10 + count / 4, counts
    looks = counts["snapshot"] - counts["presence"] - 2 * seconds
    assert looks / count <= 2 * count + 10, counts


@pytest.mark.usefixtures("autojump", "inline")
async def test_a_large_fleet_goes_back_at_once(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 20)
    fleet.machines["m015"].is_bad = True
    async with trio.open_nursery() as nursery:
        for member in fleet.members:
            nursery.start_soon(member.run)
        phase, seconds = await fleet.roll("v2")
        nursery.cancel_scope.cancel()
    assert phase is Phase.ROLLED_BACK
    assert fleet.live() == {"v1": 20}
    assert seconds < (16 + 6) * DEPLOY_SECONDS, "sixteen turns, and the way back of fifteen members at the same time"


@pytest.mark.usefixtures("autojump", "inline")
async def test_a_member_without_room_on_its_disk_fails_instead_of_holding_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, write = Fleet(tmp_path, 3), local_record.write

    def full(state_dir: Path, record: local_record.Record) -> None:
        if state_dir.name == "m001":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(state_dir, record)

    async with trio.open_nursery() as nursery:
        for member in fleet.members:
            nursery.start_soon(member.run)
        monkeypatch.setattr(local_record, "write", full)
        assert (await fleet.roll("v2"))[0] is Phase.ROLLED_BACK
        assert fleet.live() == {"v1": 3}
        progress = documents.parse(await fleet.engine.snapshot()).progress
        assert progress is not None
        assert "m001: cannot record the turn: [Errno 28]" in (progress.reason or "")
        monkeypatch.setattr(local_record, "write", write)
        assert (await fleet.roll("v2"))[0] is Phase.SUCCEEDED
        nursery.cancel_scope.cancel()
    assert fleet.live() == {"v2": 3}
