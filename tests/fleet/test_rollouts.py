"""Rollouts over real agents and a real cluster; the numbers are those of the fleet's promised behaviours."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet.load import Load
from tests.fleet.site import Fleet
from tests.live.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fleet.cluster import Cluster

pytestmark = [pytest.mark.live, pytest.mark.long]

MEMBERS = 4
"""As many as one machine can run while it does other work."""


@pytest.fixture(scope="module")
def shared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet that has deployed v1; each test leaves it at rest."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), cluster.endpoints, MEMBERS)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.destroy()


@pytest.fixture
def fleet(shared: Fleet) -> Fleet:
    """The same, on v1 everywhere."""
    shared.until(lambda state: len(Fleet.present(state)) == MEMBERS, "all members")
    for agent in shared.members.values():
        behave(agent.directory, "v2")
        behave(agent.directory, "v3")
    shared.deploy("v1", "--waves", "100%", "--parallel", "4", "--bake", "0", "--wait", "60")
    return shared


def behave(site: Path, release: str, **behaviour: object) -> None:
    """Have a release of one member behave in its own way."""
    behave_in(site / "releases" / release, **behaviour)


def behave_in(release: Path, **behaviour: object) -> None:
    """Have the app of this directory behave in its own way."""
    (release / "app.json").write_text(json.dumps(behaviour))


def is_rolling(state: dict[str, Any], release: str) -> bool:
    """Whether the members deploy a release now."""
    return state["rollout"]["release"] == release and state["phase"] in {"rolling", "baking"}


def test_a_rollout_goes_in_waves_one_member_at_a_time(fleet: Fleet) -> None:
    """1: members in waves; never more than one deploys, and each wave bakes before the next."""
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Load(agent.port)) for agent in fleet.members.values()]
        output = fleet.deploy("v2", "--waves", "1,2,100%", "--note", "fix the basket")
    assert [load.failures for load in loads] == [[]] * MEMBERS
    assert all(load.answers for load in loads)
    assert fleet.live() == ["v2"] * MEMBERS
    assert fleet.linked() == ["v2"] * MEMBERS
    words = [line.split("s  ", 1)[1] for line in output.splitlines() if " s  " in line]
    deploys = [word for word in words if word.endswith((" deploys", " is live on v2"))]
    assert deploys == [
        *("web1 deploys", "web1 is live on v2", "wave 2: web2 deploys", "web2 is live on v2"),
        *("wave 3: web3 deploys", "web3 is live on v2", "web4 deploys", "web4 is live on v2"),
    ]
    bakes = [word for word in words if "bakes" in word]
    assert bakes == [f"wave {number} bakes for 0.3 s" for number in (1, 2, 3)]
    status, text = fleet.run("history")
    assert status == 0
    assert "fix the basket" in text


def test_a_failure_stops_the_rollout_and_takes_everyone_back(fleet: Fleet) -> None:
    """2: a release that fails on one member of wave 2; later members never launch it."""
    behave(fleet.members["web2"].directory, "v2", exit_status=3, output=["KeyError: STRIPE_KEY"])
    before = {name: fleet.launches(name, "v2") for name in fleet.members}
    status, output = fleet.run("deploy", "v2", "--waves", "1,2,100%")
    assert status == 1, output
    assert "KeyError: STRIPE_KEY" in output
    assert "v2 failed on web2: the fleet is on v1 again" in output
    assert fleet.linked() == ["v1"] * MEMBERS
    assert fleet.live() == ["v1"] * MEMBERS
    assert [fleet.launches(name, "v2") - before[name] for name in ("web3", "web4")] == [0, 0]


def test_a_halt_leaves_the_mix_and_the_next_order_goes_forward(fleet: Fleet) -> None:
    """3: ``--on-failure halt`` leaves the mix and names it; the next deploy goes forward from it."""
    behave(fleet.members["web2"].directory, "v2", exit_status=3)
    status, output = fleet.run("deploy", "v2", "--on-failure", "halt")
    assert status == 1, output
    assert "halted with v2 on web1" in output
    assert fleet.live("web1", "web2", "web3") == ["v2", "v1", "v1"]
    fleet.deploy("v3")
    assert fleet.live() == ["v3"] * MEMBERS


def test_a_killed_agent_takes_its_turn_up_again(fleet: Fleet) -> None:
    """4: SIGKILL of an agent in its turn: the app is launched once more at most."""
    agent = fleet.members["web1"]
    behave(agent.directory, "v2", boot_seconds=1.5)
    before, since = fleet.launches("web1", "v2"), len(agent.events())
    process = fleet.begin("deploy", "v2")
    agent.wait_for("generation.launched", since)
    agent.restart()
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output + fleet.outputs()
    assert fleet.live() == ["v2"] * MEMBERS
    assert fleet.launches("web1", "v2") - before <= 2


def test_a_lost_member_rolls_the_others_back_and_comes_back_itself(fleet: Fleet) -> None:
    """4: absent for ``grace`` in its turn: lost, rolled back, and the same as the others soon after it is back."""
    agent = fleet.members["web2"]
    behave(agent.directory, "v2", boot_seconds=3)
    since = len(agent.events())
    process = fleet.begin("deploy", "v2")
    agent.wait_for("generation.launched", since)
    agent.kill()
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 1, output
    assert f"web2: lost: absent for {fleet.settings['grace']} s" in output
    assert fleet.live("web1", "web3", "web4") == ["v1"] * 3
    agent.start()
    fleet.wait(lambda: fleet.live("web2") == ["v1"] and fleet.linked("web2") == ["v1"], "web2 to come back")


def test_a_member_that_was_down_converges(fleet: Fleet) -> None:
    """5: down during the rollout: named, exit 0, and it converges by itself; ``--require-all`` refuses."""
    agent = fleet.members["web4"]
    agent.stop()
    fleet.until(lambda state: "web4" not in Fleet.present(state), "web4 to be absent")
    status, output = fleet.run("deploy", "v2", "--require-all")
    assert (status, fleet.live("web1")) == (1, ["v1"]), output
    output = fleet.deploy("v2")
    assert "not on web4" in output
    since = len(agent.events())
    agent.start()
    agent.wait_for("fleet.converged", since)
    assert fleet.live("web4") == ["v2"]


def test_a_missing_release_is_fetched_or_nothing_is_deployed(fleet: Fleet) -> None:
    """5: release missing: where it cannot be provided, nothing was flipped anywhere."""
    site = fleet.members["web3"].directory
    shutil.rmtree(site / "releases" / "v2")
    try:
        status, output = fleet.run("deploy", "v2")
        assert status == 1, output
        assert "nothing was deployed" in output
        assert "web3" in output
        assert fleet.live() == ["v1"] * MEMBERS
    finally:
        (site / "releases" / "v2").mkdir(exist_ok=True)
        behave(site, "v2")


def test_a_missing_release_is_fetched_and_the_first_member_is_told_so(fleet: Fleet) -> None:
    """5: release missing: ``fetch`` runs; and of all members only the first one may migrate."""
    for agent in fleet.members.values():
        (agent.directory / "store" / "v4").mkdir(parents=True)
        behave_in(agent.directory / "store" / "v4")
    fleet.deploy("v4", "--bake", "0")
    assert fleet.live() == ["v4"] * MEMBERS
    launches = [(agent.directory / "launches").read_text().splitlines() for agent in fleet.members.values()]
    assert [lines[-1] for lines in launches] == ["v4 wave 1 [1]", *["v4 wave 2 []"] * (MEMBERS - 1)]
    fleet.deploy("v4", "--bake", "0")
    assert (fleet.members["web1"].directory / "launches").read_text().splitlines()[-1] == "v4 wave 1 []"


def test_a_crash_during_the_bake_is_a_failure(fleet: Fleet) -> None:
    agent = fleet.members["web1"]
    process = fleet.begin("deploy", "v2", "--bake", "60")
    fleet.until(lambda state: state["rollout"]["release"] == "v2" and state["phase"] == "baking", "the bake")
    status = agent.status()
    os.kill(next(one["pid"] for one in status["generations"] if one["id"] == status["live"]), signal.SIGKILL)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 1, output
    assert "web1: crashed" in output.splitlines()[-1]
    assert fleet.live() == ["v1"] * MEMBERS


def test_a_second_machine_with_the_same_name_stands_aside(fleet: Fleet, tmp_path: Path) -> None:
    other = Agent(tmp_path, fleet={**fleet.settings, "member": "web2"})
    other.add_release("v1")
    other.flip("v1")
    other.start()
    try:
        other.decision(0)
        fleet.wait(
            lambda: other.status().get("fleet", {}).get("engine", {}).get("state") == "aside", "it to stand aside"
        )
        assert "another machine is the member web2" in other.status()["fleet"]["engine"]["reason"]
        fleet.deploy("v2")
        assert fleet.live() == ["v2"] * MEMBERS
        assert other.link.resolve().name == "v1"
    finally:
        other.destroy()


def test_two_orders_at_once_are_one(fleet: Fleet) -> None:
    """8: two deploys at the same instant: one order, the other exits 1 and names it; ``lock`` refuses."""
    both = [fleet.begin("deploy", release) for release in ("v2", "v3")]
    outputs = [process.communicate(timeout=90)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], outputs
    assert any("is under way" in output for output in outputs), outputs
    assert fleet.run("lock", "--note", "freeze until Monday")[0] == 0
    status, output = fleet.run("deploy", "v1")
    assert status == 1
    assert "freeze until Monday" in output
    waiting = fleet.begin("deploy", "v1", "--wait", "60")
    assert fleet.run("unlock")[0] == 0
    output, _ = waiting.communicate(timeout=90)
    assert waiting.returncode == 0, output


def test_a_killed_command_leaves_nothing_behind(fleet: Fleet) -> None:
    """9: the command is killed: the rollout ends the same, and the next one is not refused."""
    process = fleet.begin("deploy", "v2", "--bake", "1")
    fleet.until(lambda state: is_rolling(state, "v2"), "the rollout to begin")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    fleet.until(lambda state: state["phase"] == "succeeded" and state["wanted"] == "v2", "the end of the rollout")
    fleet.deploy("v3")


def test_a_link_turned_by_hand_stays_until_the_next_order(fleet: Fleet) -> None:
    """10: a link turned by hand serves, is shown, survives a restart; ``join`` gives it up, an order takes it along."""
    agent = fleet.members["web3"]
    agent.flip("v3")
    fleet.until(lambda state: state["members"][2]["by_hand"] == "v3", "web3 to be by hand")
    since = agent.restart()
    agent.wait_for("fleet.joined", since)
    fleet.until(lambda state: state["members"][2]["by_hand"] == "v3", "web3 to be by hand")
    assert fleet.live("web3") == ["v3"]
    assert "by hand" in fleet.run("")[1]
    assert fleet.run("join", "web3")[0] == 0
    fleet.wait(lambda: fleet.live("web3") == ["v1"], "web3 to follow the fleet")
    agent.flip("v3")
    fleet.until(lambda state: state["members"][2]["by_hand"] == "v3", "web3 to be by hand again")
    fleet.deploy("v2")
    assert fleet.live() == ["v2"] * MEMBERS


def test_a_rollout_can_be_paused_and_aborted(fleet: Fleet) -> None:
    process = fleet.begin("deploy", "v2", "--bake", "60")
    fleet.until(lambda state: is_rolling(state, "v2"), "the rollout to begin")
    status, output = fleet.run("pause")
    assert status == 0, output
    assert fleet.until(lambda state: state["rollout"]["paused"], "the pause")
    assert fleet.run("abort")[0] == 0
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 1, output
    assert "was aborted by" in output
    assert fleet.live() == ["v1"] * MEMBERS
    assert fleet.run("pause") == (1, "rainbowd: cannot pause: no rollout is under way\n")


def test_a_rollback_goes_back_everywhere_at_once(fleet: Fleet) -> None:
    fleet.deploy("v2")
    status, output = fleet.run("rollback", "--note", "errors")
    assert status == 0, output
    assert fleet.live() == ["v1"] * MEMBERS


def test_a_release_that_is_no_name_is_refused(fleet: Fleet) -> None:
    """11: a release named ``../x`` or ``/x`` is refused."""
    for name in ("../x", "/x", ".hidden", "a b"):
        assert fleet.run("deploy", name)[0] == 2
    assert fleet.live() == ["v1"] * MEMBERS
