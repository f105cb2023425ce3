"""Many rollouts under load while nodes, agents and links fail at random: ``python -m tests.fleet.storm --rollouts 50``.

It prints each rollout, and at the end what was lost or left over.  The seed repeats the order of the faults, not their
moments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fleet.cluster import Cluster
from tests.fleet.load import Load
from tests.fleet.relay import Relay
from tests.fleet.site import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable

MEMBERS = 4


class Storm:
    """The fleet, what disturbs it, and what must hold after each rollout."""

    def __init__(self, cluster: Cluster, relays: list[Relay], fleet: Fleet, chance: random.Random) -> None:
        self.cluster, self.relays, self.fleet, self.random = cluster, relays, fleet, chance
        self.problems: list[str] = []

    def disturb(self) -> str:
        """Let one thing fail for a moment, and return what it was."""
        faults: dict[str, Callable[[], None]] = {
            "a node is killed": self._kill,
            "a node is frozen": self._freeze,
            "a link is cut": lambda: self._link("cut"),
            "a link is stalled": lambda: self._link("stall"),
            "an agent is upgraded": self._upgrade,
            "nothing": lambda: time.sleep(1),
        }
        name = self.random.choice(list(faults))
        faults[name]()
        return name

    def _kill(self) -> None:
        node = self.cluster.leader() if self.random.random() < 0.5 else self.random.choice(self.cluster.nodes)
        node.kill()
        time.sleep(self.random.uniform(0, 2))
        self.cluster.start(node)

    def _freeze(self) -> None:
        node = self.cluster.leader() if self.random.random() < 0.5 else self.random.choice(self.cluster.nodes)
        node.freeze()
        time.sleep(self.random.uniform(0, 4))
        node.thaw()

    def _link(self, how: str) -> None:
        relay = self.random.choice(self.relays)
        getattr(relay, how)()
        time.sleep(self.random.uniform(0, 4))
        relay.heal()

    def _upgrade(self) -> None:
        agent = self.random.choice(list(self.fleet.members.values()))
        since, names = len(agent.events()), ("agent.upgraded", "agent.upgrade_failed")
        assert agent.process is not None
        agent.process.send_signal(signal.SIGUSR2)
        self.fleet.wait(lambda: any(agent.find(name, since) for name in names), "the end of an upgrade")
        if upgraded := agent.find("agent.upgraded", since):
            agent.follow(upgraded["pid"])

    def roll(self, number: int) -> None:
        """Carry out one rollout while things fail, and check its end."""
        release = ("v2", "v3")[number % 2]
        bad = self.random.random() < 0.25
        victim = self.random.choice(list(self.fleet.members))
        behaviour = {"exit_status": 3} if bad else {}
        path = self.fleet.members[victim].directory / "releases" / release / "app.json"
        path.write_text(json.dumps(behaviour))
        process = self.fleet.begin("deploy", release, "--waves", "1,100%", "--parallel", "2", "--wait", "60")
        faults: list[str] = []
        while process.poll() is None and len(faults) < 3:
            faults.append(self.disturb())
        output, _ = process.communicate(timeout=180)
        path.write_text("{}")
        expected = {0, 1} if bad else {0}
        print(f"{number:3} {release} {'bad on ' + victim if bad else 'good':12} -> {process.returncode}: {faults}")
        if process.returncode not in expected:
            self.problems.append(f"rollout {number}: {output}")
        phases = {"succeeded", "rolled_back", "halted", "failed"}
        state = self.fleet.until(lambda state: state["phase"] in phases, "the rest")
        wanted = state["wanted"]
        if wanted is not None:
            self.fleet.wait(lambda: set(self.fleet.linked()) == {wanted}, f"all members on {wanted}")

    def overlaps(self, parallel: int) -> None:
        """Check that no more than ``parallel`` members deployed at the same time, ways back left out."""
        changes = []
        for agent in self.fleet.members.values():
            begun: dict[str, str] = {}
            for event in agent.events():
                is_forward = (
                    event["event"] == "deploy.requested" and event["trigger"] == "fleet" and not event["rollback"]
                )
                if is_forward:
                    begun[event["deploy"]] = event["at"]
                elif event["event"] in {"deploy.succeeded", "deploy.failed", "deploy.rolled_back"}:
                    at = begun.pop(event["deploy"], None)
                    changes += [(at, 1), (event["at"], -1)] if at else []
        now = most = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        print(f"at most {most} members deployed at the same time")
        if most > parallel:
            self.problems.append(f"{most} members deployed at the same time")


def main() -> int:
    """Run the storm; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        cluster = Cluster(Path(place) / "etcd")
        stack.callback(cluster.destroy)
        cluster.start()
        relays = [stack.enter_context(Relay(url)) for url in cluster.endpoints]
        directory = Path(place) / "fleet"
        directory.mkdir()
        fleet = Fleet(directory, [relay.url for relay in relays], MEMBERS, grace=30, parallel=2)
        stack.callback(fleet.destroy)
        fleet.start()
        storm = Storm(cluster, relays, fleet, random.Random(options.seed))
        with contextlib.ExitStack() as loads:
            running = [loads.enter_context(Load(agent.port)) for agent in fleet.members.values()]
            for number in range(options.rollouts):
                storm.roll(number)
        storm.problems += [failure for load in running for failure in load.failures]
        storm.overlaps(2)
        print(f"{sum(load.answers for load in running)} requests")
    for problem in storm.problems:
        print(problem)
    print("nothing was lost" if not storm.problems else f"{len(storm.problems)} problems")
    return 1 if storm.problems else 0


if __name__ == "__main__":
    sys.exit(main())
