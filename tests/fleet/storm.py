"""Many rollouts under load while nodes, agents and links fail at random: ``python -m tests.fleet.storm --rollouts 50``.

It prints each rollout, and at the end what was lost or left over.  Requests to an agent that was killed are counted
apart, from its end until the next one listens.  The seed repeats the order of the faults, not their moments.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fleet.cluster import Cluster
from tests.fleet.hello import mend, spoil, use_hello
from tests.fleet.load import Load
from tests.fleet.relay import Relay
from tests.fleet.site import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable

MEMBERS = 5
PARALLEL = 2
HISTORY_MAX = 50


class Storm:
    """The fleet, what disturbs it, and what must hold after each rollout."""

    def __init__(self, cluster: Cluster, relays: list[Relay], fleet: Fleet, chance: random.Random) -> None:
        self.cluster, self.relays, self.fleet, self.random = cluster, relays, fleet, chance
        self.loads = {name: Load(agent.port) for name, agent in fleet.members.items()}
        self.wanted = "v1"
        self.begun = {name: len(agent.events()) for name, agent in fleet.members.items()}
        self.problems: list[str] = []

    def disturb(self) -> str:
        """Let one thing fail for a moment, and return what it was."""
        faults: dict[str, Callable[[], None]] = {
            "a node is killed": self._kill,
            "a node is frozen": self._freeze,
            "an agent is killed": self._kill_agent,
            "an agent is frozen": self._freeze_agent,
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

    def _kill_agent(self) -> None:
        name = self.random.choice(list(self.fleet.members))
        agent, load = self.fleet.members[name], self.loads[name]
        load.fall()
        agent.kill()
        time.sleep(self.random.uniform(0, 3))
        agent.start()
        self.fleet.wait(lambda: _listens(agent.port), f"{name} to listen again")
        load.rise()

    def _freeze_agent(self) -> None:
        agent = self.random.choice(list(self.fleet.members.values()))
        assert agent.process is not None
        agent.process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0, 3))
        agent.process.send_signal(signal.SIGCONT)

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
        if bad:
            spoil(self.fleet.members[victim], release)
        process = self.fleet.begin("deploy", release, "--waves", "1,100%", "--parallel", str(PARALLEL), "--wait", "60")
        faults: list[str] = []
        while process.poll() is None and len(faults) < 3:
            faults.append(self.disturb())
        status, output = self.fleet.end(process)
        mend(self.fleet.members[victim], release)
        print(f"{number:3} {release} {'bad on ' + victim if bad else 'good':12} -> {status}: {faults}", flush=True)
        if status != int(bad):
            self.problems.append(f"rollout {number}: {output}")
        self.wanted = release if status == 0 else self.wanted
        phases = {"succeeded"} if status == 0 else {"rolled_back", "halted", "failed"}
        self.fleet.until(lambda state: state["phase"] in phases, "the rest")
        self.fleet.wait(lambda: set(self.fleet.linked()) == {self.wanted}, f"all members on {self.wanted}")
        self.fleet.wait(lambda: set(self.fleet.live()) == {self.wanted}, f"{self.wanted} to be live")

    def overlaps(self, parallel: int) -> None:
        """Check that no more than ``parallel`` members deployed at the same time, ways back left out."""
        changes = []
        for name, agent in self.fleet.members.items():
            begun: dict[str, str] = {}
            for event in agent.events()[self.begun[name] :]:
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

    def leftovers(self) -> None:
        """Check that etcd has the keys of the contract and no other, and one lease for each member."""
        names = set(self.fleet.members)
        keys = {"/", *(f"/rainbowd/{self.fleet.settings['name']}/{key}" for key in ("order", "progress"))}
        for part in ("present", "members"):
            keys |= {f"/rainbowd/{self.fleet.settings['name']}/{part}/{name}" for name in names}
        history = f"/rainbowd/{self.fleet.settings['name']}/history/"
        found = self.cluster.keys()
        past = [key for key in found if key.startswith(history)]
        print(f"{len(found)} keys in etcd, {len(past)} of them history")
        if set(found) - set(past) != keys or len(past) > HISTORY_MAX:
            self.problems.append(f"found the keys {sorted(set(found) ^ keys)} in etcd")
        try:
            self.fleet.wait(lambda: self.cluster.leases() == len(names), "the leases of the past to end")
        except AssertionError:
            self.problems.append(f"found {self.cluster.leases()} leases in etcd; expected {len(names)}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def main() -> int:
    """Run the storm; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60, help="after which no further rollout begins")
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
        fleet = Fleet(directory, [relay.url for relay in relays], MEMBERS, grace=60, parallel=PARALLEL)
        for agent in fleet.members.values():
            use_hello(agent)
        stack.callback(fleet.destroy)
        fleet.start()
        fleet.deploy("v1", "--waves", "100%", "--parallel", str(MEMBERS), "--bake", "0")
        storm = Storm(cluster, relays, fleet, random.Random(options.seed))
        until = time.monotonic() + 60 * options.minutes
        with contextlib.ExitStack() as running:
            for load in storm.loads.values():
                running.enter_context(load)
            for number in range(options.rollouts):
                if time.monotonic() < until:
                    storm.roll(number)
        storm.problems += [failure for load in storm.loads.values() for failure in load.failures]
        storm.overlaps(PARALLEL)
        storm.leftovers()
        excused = sum(load.excused for load in storm.loads.values())
        print(
            f"{sum(load.answers for load in storm.loads.values())} requests, {excused} more to agents that were killed"
        )
    for problem in storm.problems:
        print(problem)
    print("nothing was lost" if not storm.problems else f"{len(storm.problems)} problems")
    return 1 if storm.problems else 0


if __name__ == "__main__":
    sys.exit(main())
