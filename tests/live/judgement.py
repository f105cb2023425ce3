"""What of a torture should not have been: which failures of the clients a kill explains, and what is left.

A kill explains what was in flight on the process that was killed, and no more: such a request fails at once.  An
answer of "nothing is live" is never one of these.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live import storm, zoo
from tests.story import problems

if TYPE_CHECKING:
    from tests.live.agent import Agent, Event
    from tests.live.kills import Failure, Watched
    from tests.live.traffic import Tunnel

NOTICE_SECONDS = 0.1
"""How long after a kill its effects may be new to anybody."""
FAIL_SECONDS = 3.0
"""How late on a busy machine a client may see that its answer broke off."""
SEEN_SECONDS = 0.5
"""How late on such a machine the journal may tell that what was live is dead."""
REFUSED_SECONDS = 3.0
"""The same if refused connections are the sign: the sockets of a process can be closed long before it is waited for."""
REAPED_SECONDS = 2.0
"""How late it may report this for a generation that is no longer live, which is reported when it is reaped."""
TUNNELS_SECONDS = 2.0
EARLY_SECONDS = 1.0
"""How much later than it happens a switch, or an upgrade, may be told of."""
KEPT = {
    "lock",
    "journal.jsonl",
    "status.json",
    "status.json.second",
    "status.json.spare",
    "deploys.json",
    "generation",
    "token",
}
LEAK_DESCRIPTORS = 12
"""More than may come and go with who looks and what is written."""
SHOWN = 25


@dataclass(frozen=True)
class Kill:
    """A process that served was ended, somewhere between two times in seconds since the epoch."""

    after: float
    before: float
    what: str

    def explains(self, failure: Failure) -> bool:
        """Return whether the failed request was in flight, and failed at once."""
        was_in_flight = failure.begun_at <= self.before + NOTICE_SECONDS and self.after <= failure.ended_at
        return was_in_flight and failure.ended_at <= self.before + FAIL_SECONDS and "503" not in str(failure.what)

    def ends(self, tunnel: Tunnel) -> bool:
        """Return whether that can have ended the tunnel."""
        return tunnel.opened_at <= self.before and self.after <= tunnel.ended_at <= self.before + FAIL_SECONDS


@dataclass
class Outcome:
    """What was done and observed, and which of it is a fault."""

    seed: int
    traffic: Watched
    done: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)
    in_flight: list[Failure] = field(default_factory=list)
    tunnels_lost: int = 0
    wrong: list[str] = field(default_factory=list)


def judge(agent: Agent, outcome: Outcome) -> None:
    """Tell what should not have been, of an agent that has stopped."""
    events = agent.events()
    outcome.events.update(event["event"] for event in events)
    kills = outcome.kills + [own_death(event) for event in events if has_died(event)]
    for failure in outcome.traffic.seen:
        if any(kill.explains(failure) for kill in kills):
            outcome.in_flight.append(failure)
        else:
            outcome.wrong.append(f"lost: {failure}")
    outcome.wrong += judge_tunnels(outcome, events, kills)
    outcome.wrong += problems(events) + [f"process {pid} is left" for pid in agent.processes()]
    if (agent.directory / "beat.doubled").exists():
        outcome.wrong.append("two companion processes ran that must not overlap")
    left = [entry.name for entry in agent.state_dir.iterdir() if entry.name not in KEPT]
    outcome.wrong += [f"{name} is left in the state directory" for name in left]
    outcome.wrong += [f"bad release live: {event}" for event in events if is_bad(event)]
    asked, done = deploys(events)
    outcome.wrong += [f"deploy {deploy} was never decided" for deploy in asked - done]
    outcome.wrong += [f"could not be ended: {event}" for event in events if event.get("left")]
    outcome.wrong += [f"a bug: {line}" for line in agent.output_file.read_text().splitlines() if "bug: " in line]


def judge_tunnels(outcome: Outcome, events: list[Event], kills: list[Kill]) -> list[str]:
    """Return the WebSockets that were closed before ``drain.tunnels`` had passed after a switch or an upgrade."""
    turns = [storm.at(event) for event in events if event["event"] in {"generation.live", "agent.upgraded"}]
    early = []
    for tunnel in outcome.traffic.tunnels:
        latest = tunnel.ended_at - TUNNELS_SECONDS + EARLY_SECONDS
        if not tunnel.closed or any(tunnel.opened_at - EARLY_SECONDS <= turn <= latest for turn in turns):
            continue
        if any(kill.ends(tunnel) for kill in kills):
            outcome.tunnels_lost += 1
        else:
            early.append(f"websocket closed too early: {tunnel}")
    return early


def held(agent: Agent) -> int:
    """Return how many descriptors the agent has."""
    assert agent.process is not None
    return len(list(Path(f"/proc/{agent.process.pid}/fd").iterdir()))


def deploys(events: list[Event]) -> tuple[set[str], set[str]]:
    """Those that were asked for, and those that were decided."""
    ends = {"deploy.succeeded", "deploy.failed", "deploy.rolled_back"}
    asked = {event["deploy"] for event in events if event["event"] == "deploy.requested"}
    return asked, {event["deploy"] for event in events if event["event"] in ends}


def has_died(event: Event) -> bool:
    """Return whether an app killed itself that was live, or that does so after it was live."""
    if event["event"] == "generation.retired":
        return kind(event) == "mortal" and event["exit_status"] in {-signal.SIGKILL, None}
    return bool(event["event"] == "generation.crashed")


def own_death(event: Event) -> Kill:
    """Return the death that an event reports, as a kill between two times."""
    late_seconds = REAPED_SECONDS if event["event"] == "generation.retired" else SEEN_SECONDS
    if event.get("reason") == "refuses connections":
        late_seconds = REFUSED_SECONDS
    return Kill(storm.at(event) - late_seconds, storm.at(event), "itself")


def is_bad(event: Event) -> bool:
    """Return whether a release went live that cannot pass its check."""
    return event["event"] == "generation.live" and kind(event) in zoo.FAILING


def kind(event: Event) -> str:
    """Return the kind of release that an event is about."""
    return Path(event["release"]).name.partition("-")[2]


def report(outcome: Outcome) -> str:
    """Return the report as lines of text."""
    kills = Counter(kill.what for kill in outcome.kills)
    told = (outcome.traffic.counts, outcome.done, kills)
    lines = [f"seed {outcome.seed}", *(json.dumps(dict(sorted(counts.items()))) for counts in told)]
    lines.append(json.dumps(dict(sorted(outcome.events.items()))))
    lines.append(f"{len(outcome.in_flight)} requests were in flight on a process that was killed, and failed")
    lines.append(f"{outcome.tunnels_lost} of {len(outcome.traffic.tunnels)} websockets ended with such a process")
    lines += [f"FAILED {wrong}" for wrong in outcome.wrong[: SHOWN + 1]]
    lines.append(f"{len(outcome.wrong)} lines of failure" if outcome.wrong else "no other failure")
    return "\n".join(lines)
