"""The client of etcd against a real cluster."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.config import FleetSettings
from rainbowd.fleet.engine import ABSENT, EngineAway
from rainbowd.fleet.etcd import Etcd

if TYPE_CHECKING:
    from tests.fleet.cluster import Cluster

pytestmark = pytest.mark.live


def settings(cluster: Cluster, **changes: object) -> FleetSettings:
    """Return the settings of a fleet of its own."""
    name = f"f{secrets.token_hex(4)}"
    return FleetSettings.model_validate(
        {"name": name, "endpoints": tuple(cluster.endpoints), "ttl": 7, "member": "m1", **changes}
    )


async def test_a_transaction_is_written_only_if_its_guards_hold(cluster: Cluster) -> None:
    async with Etcd(settings(cluster)) as etcd:
        assert (await etcd.snapshot()).entries == {}
        assert await etcd.commit({"order": ABSENT}, {"order": "one", "history/1": "x"})
        assert not await etcd.commit({"order": ABSENT}, {"order": "two"})
        snapshot = await etcd.snapshot()
        assert {key: entry.value for key, entry in snapshot.entries.items()} == {"order": "one", "history/1": "x"}
        assert await etcd.commit({"order": snapshot.revision_of("order")}, {"order": "three", "history/1": None})
        assert {key: entry.value for key, entry in (await etcd.snapshot()).entries.items()} == {"order": "three"}


async def test_a_present_key_outlives_its_lease_if_another_agent_takes_it_over(cluster: Cluster) -> None:
    config = settings(cluster)
    async with Etcd(config) as old, Etcd(config) as new:
        assert await old.presence("present/m1", "old", ABSENT)
        assert not await new.presence("present/m1", "new", ABSENT)
        seen = await new.snapshot()
        assert await new.presence("present/m1", "new", seen.revision_of("present/m1"))
        await old._call("/v3/lease/revoke", {"ID": str(old._lease)})
        after = await new.snapshot()
        assert after.entries["present/m1"].value == "new"
        assert await new.presence("present/m1", "new", after.revision_of("present/m1"))
        assert (await new.snapshot()).revision == after.revision, "a renewal is not a write"
        assert await new.commit({"present/m1": after.revision_of("present/m1")}, {"present/m1": None})
        assert await new.presence("present/m1", "new", ABSENT)
        assert "present/m1" in (await new.snapshot()).entries


async def test_a_watch_reports_changes(cluster: Cluster) -> None:
    async with Etcd(settings(cluster)) as etcd, trio.open_nursery() as nursery:
        woken = trio.Event()
        revision = (await etcd.snapshot()).revision
        nursery.start_soon(etcd.wake, revision, lambda _: woken.set())
        assert await etcd.commit({"order": ABSENT}, {"order": "one"})
        with trio.fail_after(30):
            await woken.wait()
        nursery.cancel_scope.cancel()


async def test_a_watch_that_was_compacted_away_ends(cluster: Cluster) -> None:
    async with Etcd(settings(cluster)) as etcd:
        assert await etcd.commit({"order": ABSENT}, {"order": "one"})
        revision = (await etcd.snapshot()).revision
        await etcd._call("/v3/kv/compaction", {"revision": str(revision)})
        with trio.fail_after(30):
            await etcd.wake(revision - 2, lambda _: None)


async def test_a_node_that_does_not_answer_is_left_out(cluster: Cluster) -> None:
    nowhere = "http://127.0.0.1:9"
    async with Etcd(settings(cluster, endpoints=(nowhere, *cluster.endpoints), ttl=9)) as etcd:
        assert await etcd.commit({"order": ABSENT}, {"order": "one"})
    async with Etcd(settings(cluster, endpoints=(nowhere,))) as etcd:
        with pytest.raises(EngineAway, match=nowhere):
            await etcd.snapshot()


async def test_a_frozen_leader_delays_a_write_but_does_not_lose_it(cluster: Cluster) -> None:
    async with Etcd(settings(cluster)) as etcd:
        leader = cluster.leader()
        leader.freeze()
        try:
            with trio.fail_after(60):
                while True:
                    try:
                        is_written = await etcd.commit({"order": ABSENT}, {"order": "one"})
                        break
                    except EngineAway:
                        await trio.sleep(0.2)
            assert is_written or (await etcd.snapshot()).entries["order"].value == "one"
        finally:
            leader.thaw()
