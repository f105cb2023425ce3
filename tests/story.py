"""A check of whether a journal is consistent: all that begins ends once, and one generation is live at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Event = Mapping[str, Any]

ENDS = {"deploy.succeeded", "deploy.failed", "deploy.rolled_back"}

BEFORE = {
    "generation.healthy": {"launched"},
    "generation.canary": {"healthy", "canary"},
    "generation.live": {"healthy", "canary", "standby"},
    "generation.standby": {"live"},
    "generation.draining": {"live", "standby", "canary"},
    "generation.crashed": {"live", "canary", "left"},
    "generation.adopted": {"left"},
    "generation.retired": {"launched", "healthy", "canary", "live", "standby", "draining", "crashed", "left"},
}
"""The last events that a generation may have had before an event."""


@dataclass
class Story:
    """The state that the events of a journal add up to.

    Attributes:
        problems: what cannot have happened, in words.
        generations: the last event of each, by id.
        live: the id of the generation that new requests go to; None if nothing is live.
        deploys: whether it has an outcome, by id.
        is_running: whether an agent runs.
        has_gaps: whether an agent was killed, and with it events that it had not written yet.
    """

    problems: list[str] = field(default_factory=list)
    generations: dict[int, str] = field(default_factory=dict)
    live: int | None = None
    deploys: dict[str, bool] = field(default_factory=dict)
    is_running: bool = False
    has_gaps: bool = False

    def add(self, event: Event) -> None:
        """Add the next event."""
        name = event["event"]
        if name == "agent.started":
            self._start()
        elif name == "agent.stopped":
            self._stop()
        elif not self.is_running:
            self._object(event, "while no agent runs")
        elif name.startswith("deploy."):
            self._deploy(event)
        elif name.startswith("generation."):
            self._generation(event)

    def _start(self) -> None:
        """Start an agent; if one runs, it was killed, and its generations belong to nobody until they are adopted."""
        self.has_gaps |= self.is_running
        self.is_running, self.live = True, None
        for number, state in self.generations.items():
            if state != "retired":
                self.generations[number] = "left"

    def _stop(self) -> None:
        self.is_running, self.live = False, None
        left = [number for number, state in self.generations.items() if state != "retired"]
        self.problems += [f"generation {number} is not retired when the agent stops" for number in left]
        self.problems += [f"deploy {deploy} has no outcome" for deploy, done in self.deploys.items() if not done]

    def _deploy(self, event: Event) -> None:
        name, deploy = event["event"], event["deploy"]
        if name == "deploy.requested":
            if self.deploys.setdefault(deploy, False):
                self._object(event, "has an outcome already")
        elif self.deploys.get(deploy) is not False:
            self._object(event, "is not under way")
        elif name in ENDS:
            self.deploys[deploy] = True
        if (
            name in {"deploy.succeeded", "deploy.rolled_back"}
            and self.is_running
            and event["generation"]
            not in {
                self.live,
                None,
            }
        ):
            self._object(event, f"while {self.live} is live")

    def _generation(self, event: Event) -> None:
        name, number = event["event"], event["generation"]
        now, state = self.generations.get(number), name.partition(".")[2]
        if now is None and self.has_gaps and "left" in BEFORE.get(name, ()):
            now = "left"
        if name == "generation.adopted":
            self._adopted(event, now)
            return
        if name == "generation.launched":
            if now is not None:
                self._object(event, f"is {now}")
        elif now not in BEFORE[name]:
            self._object(event, f"is {now}")
        if state == "live":
            self.live = number
        elif self.live == number and state in {"crashed", "retired", "draining", "standby"}:
            self.live = None
        self.generations[number] = state

    def _adopted(self, event: Event, now: str | None) -> None:
        """Adopt a generation: after an upgrade it is as it was, after a kill as it was recorded."""
        number, state = event["generation"], event["state"]
        if now not in BEFORE["generation.adopted"] | {state}:
            self._object(event, f"is {now}")
        if state == "live" and self.live not in {None, number}:
            self._object(event, f"while {self.live} is live")
        if state == "live":
            self.live = number
        self.generations[number] = state

    def _object(self, event: Event, why: str) -> None:
        what = event.get("deploy") if event["event"].startswith("deploy.") else event.get("generation")
        self.problems.append(f"{event['event']} of {what}: {why}")


def problems(events: Iterable[Event]) -> list[str]:
    """Return what cannot have happened in a journal, which must be whole."""
    story = Story()
    for event in events:
        story.add(event)
    return story.problems
