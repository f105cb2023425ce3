"""Rollouts while etcd, its nodes or the way to them fail; the numbers are those of the fleet's promised behaviours."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet.cluster import Cluster
from tests.fleet.load import Load
from tests.fleet.relay import Relay
from tests.fleet.site import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.long]


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that only this test disturbs."""
    cluster = Cluster(
        tmp_path / "etcd", options=["--auto-compaction-mode", "revision", "--auto-compaction-retention", "1"]
    )
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()


@contextlib.contextmanager
def running(directory: Path, endpoints: list[str], count: int = 3, **settings: object) -> Iterator[Fleet]:
    """A fleet that has deployed v1."""
    directory.mkdir()
    fleet = Fleet(directory, endpoints, count, **settings)
    try:
        fleet.start()
        fleet.deploy("v1", "--waves", "100%", "--parallel", str(count), "--bake", "0")
        yield fleet
    finally:
        fleet.destroy()


def test_a_rollout_survives_the_end_of_the_leader_and_a_frozen_node(own_cluster: Cluster, tmp_path: Path) -> None:
    """6: etcd's leader killed, a node frozen: the rollout ends as without, and each member launches once."""
    with running(tmp_path / "fleet", own_cluster.endpoints, grace=12) as fleet:
        before = {name: fleet.launches(name, "v2") for name in fleet.members}
        process = fleet.begin("deploy", "v2")
        fleet.until(lambda state: state["wanted"] == "v1" and state["phase"] == "rolling", "the rollout")
        leader = own_cluster.leader()
        leader.kill()
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output + fleet.outputs()
        assert {fleet.launches(name, "v2") - before[name] for name in fleet.members} == {1}
        own_cluster.start(leader)
        frozen = own_cluster.leader()
        process = fleet.begin("deploy", "v3")
        fleet.until(lambda state: state["wanted"] == "v2" and state["phase"] == "rolling", "the next rollout")
        frozen.freeze()
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            frozen.thaw()
        assert process.returncode == 0, output + fleet.outputs()
        assert fleet.live() == ["v3"] * 3


def test_without_etcd_everything_serves_and_local_deploys_work(own_cluster: Cluster, tmp_path: Path) -> None:
    """7: all of etcd away: no request fails, local deploys work, the status says since when; then it goes on."""
    with running(tmp_path / "fleet", own_cluster.endpoints) as fleet, contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Load(agent.port)) for agent in fleet.members.values()]
        process = fleet.begin("deploy", "v2")
        agent = fleet.members["web3"]
        fleet.until(lambda state: state["wanted"] == "v1" and state["phase"] in {"rolling", "baking"}, "the rollout")
        for node in own_cluster.nodes:
            node.kill()
        away = agent.wait_for("fleet.engine_away")
        assert away["reason"]
        assert agent.status()["fleet"]["engine"]["state"] == "away"
        time.sleep(float(fleet.settings["grace"]) + 1)  # longer than the grace: nobody must be lost for it
        since = len(agent.events())
        agent.touch()
        assert agent.decision(since)["event"] == "deploy.succeeded"
        own_cluster.start()
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output + fleet.outputs()
        agent.wait_for("fleet.engine_back")
        assert fleet.live() == ["v2"] * 3
        assert [load.failures for load in loads] == [[], [], []]


def test_a_member_that_is_cut_off_in_its_turn_does_later_what_the_fleet_decided(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    """12: cut off in its turn: lost to the others, serves; healed, it is what the fleet is."""
    with contextlib.ExitStack() as stack:
        relays = [stack.enter_context(Relay(url)) for url in own_cluster.endpoints]
        fleet = stack.enter_context(running(tmp_path / "fleet", own_cluster.endpoints, count=2))
        cut_off = fleet.make("web3")
        config: dict[str, Any] = json.loads((cut_off.directory / "rainbowd.json").read_text())
        config["fleet"]["endpoints"] = [relay.url for relay in relays]
        (cut_off.directory / "rainbowd.json").write_text(json.dumps(config))
        (cut_off.directory / "releases" / "v2" / "app.json").write_text('{"boot_seconds": 2}')
        fleet.members["web3"] = cut_off
        cut_off.start()
        cut_off.wait_for("fleet.joined")
        process = fleet.begin("deploy", "v2")
        v2 = str(cut_off.directory / "releases" / "v2")
        cut_off.wait_for("generation.launched", release=v2)
        for relay in relays:
            relay.cut()
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1, output
        assert "web3: lost" in output
        assert fleet.live("web1", "web2") == ["v1", "v1"]
        cut_off.wait_for("generation.live", release=v2)  # it finishes its own deploy, and serves
        for relay in relays:
            relay.heal()
        fleet.wait(lambda: fleet.live("web3") == ["v1"], "web3 to come back")
