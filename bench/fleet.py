"""What a fleet costs: ``python -m bench.fleet --members 3,5,20`` starts etcd and members in this process, on loopback.

The members deploy nothing: a deploy ends after a fixed time, which is subtracted.  So the figures are the fleet's own:
the time from the order to the last member, the requests to etcd, and what a member at rest costs.
"""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.config import FleetSettings
from rainbowd.fleet import documents, orders
from rainbowd.fleet.etcd import Etcd
from rainbowd.fleet.local_deploys import Result, Standing
from rainbowd.fleet.member import Member
from tests.fleet.cluster import Cluster

if TYPE_CHECKING:
    from rainbowd.fleet.gateway import Message
    from rainbowd.fleet.local_deploys import Task

DEPLOY_SECONDS = 0.2
IDLE_SECONDS = 20.0


class Counted(Etcd):
    """A client that counts its requests.

    Attributes:
        count: of all clients.
    """

    count = 0

    async def _send(self, path: str, body: Message, headers: dict[str, str]) -> Message:  # type: ignore[override]
        Counted.count += 1
        return await super()._send(path, body, headers)


class Instant:
    """A machine whose deploys all take the same time.

    Args:
        releases: the directory of the releases.
    """

    def __init__(self, releases: Path) -> None:
        self._live = releases / "v1"
        self._number = 1

    def standing(self) -> Standing:
        return Standing(self._live, self._live, self._number)

    async def deploy(self, task: Task) -> Result:
        await trio.sleep(DEPLOY_SECONDS)
        self._live, self._number = task.release, self._number + 1
        return Result()

    async def find_result(self, _task: Task, _before: Path | None) -> Result | None:
        return None

    async def fetch(self, _task: Task) -> Result:
        return Result("no hook")

    def record(self, event: str, **fields: object) -> None:
        pass


def main() -> None:
    """Measure each number of members, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", default="3,5,20", help="numbers of members, separated by commas")
    numbers = [int(text) for text in parser.parse_args().members.split(",")]
    with tempfile.TemporaryDirectory() as place:
        cluster = Cluster(Path(place) / "etcd")
        try:
            cluster.start()
            print("members  rollout s  own s  requests  a member  idle requests/h  idle CPU %  KiB")
            for number in numbers:
                directory = Path(place) / str(number)
                print(trio.run(measure, cluster, directory, number))
        finally:
            cluster.destroy()


async def measure(cluster: Cluster, directory: Path, number: int) -> str:
    """Return a row of the table."""
    for release in ("v1", "v2"):
        (directory / "releases" / release).mkdir(parents=True)
    fleet = {"name": f"b{secrets.token_hex(3)}", "endpoints": tuple(cluster.endpoints), "bake": 0}
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with trio.open_nursery() as nursery:
        for index in range(number):
            settings = FleetSettings.model_validate({**fleet, "member": f"m{index:03}"})
            nursery.start_soon(_member(settings, directory).run)
        async with Etcd(FleetSettings.model_validate(fleet)) as etcd:
            while len(documents.parse(await etcd.snapshot()).members) < number:  # noqa: ASYNC110 - no event
                await trio.sleep(0.1)
            await trio.sleep(2)
            begun, asked = time.monotonic(), Counted.count
            await _roll(etcd)
            seconds, requests = time.monotonic() - begun, Counted.count - asked
            await trio.sleep(2)
            cpu, asked = time.process_time(), Counted.count
            await trio.sleep(IDLE_SECONDS)
            idle_cpu = 100 * (time.process_time() - cpu) / IDLE_SECONDS / number
            idle = (Counted.count - asked) * 3600 / IDLE_SECONDS / number
        kib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_bytes) // number
        nursery.cancel_scope.cancel()
    own = seconds - number * DEPLOY_SECONDS
    return (
        f"{number:7}  {seconds:9.1f}  {own:5.1f}  {requests:8}  {requests / number:8.1f}"
        f"  {idle:15.0f}  {idle_cpu:10.2f}  {kib:3}"
    )


def _member(settings: FleetSettings, directory: Path) -> Member:
    state = directory / settings.member_name
    state.mkdir()
    machine = Instant(directory / "releases")
    return Member(
        settings, lambda: Counted(settings), machine, state, machine_id=settings.member_name, on_change=lambda: None
    )


async def _roll(etcd: Etcd) -> None:
    """Order v2, one member at a time, and wait for the end."""
    found = documents.parse(await etcd.snapshot())
    policy = orders.Policy("1,100%", 1, 0, "rollback", 0)
    order = orders.new_order(found, os.urandom(6).hex(), "v2", policy, orders.Author("bench", None, ""))
    assert await etcd.commit(orders.order_guards(found), {documents.ORDER: order.encode()})
    while documents.parse(await etcd.snapshot()).is_under_way:  # noqa: ASYNC110 - no event
        await trio.sleep(0.05)


if __name__ == "__main__":
    main()
