"""Whether a journal tells a story that can have happened: whatever begins has one end, and one is live at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Event = Mapping[str, Any]

ENDS = {"deploy.succeeded", "deploy.failed", "deploy.rolled_back"}

BEFORE = {
    "generation.healthy": {"launched"},
    "generation.live": {"healthy", "standby"},
    "generation.standby": {"live"},
    "generation.draining": {"live", "standby"},
    "generation.crashed": {"live", "left"},
    "generation.adopted": {"left"},
    "generation.retired": {"launched", "healthy", "live", "standby", "draining", "crashed", "left"},
}
"""What a generation must have been told to be before the event."""


@dataclass
class Story:
    """What was told so far.

    Attributes:
        problems: what cannot have happened, in words.
        generations: what each was last told to be.
        live: the generation that new requests go to.
        deploys: by id, whether it was decided.
        runs: an agent does.
        has_gaps: one was killed, and with it what it had not written yet.
    """

    problems: list[str] = field(default_factory=list)
    generations: dict[int, str] = field(default_factory=dict)
    live: int | None = None
    deploys: dict[str, bool] = field(default_factory=dict)
    runs: bool = False
    has_gaps: bool = False

    def tell(self, event: Event) -> None:
        """Take in the next event."""
        name = event["event"]
        if name == "agent.started":
            self._start()
        elif name == "agent.stopped":
            self._stop()
        elif not self.runs:
            self._object(event, "while no agent runs")
        elif name.startswith("deploy."):
            self._deploy(event)
        elif name.startswith("generation."):
            self._generation(event)

    def _start(self) -> None:
        """If one ran before, it was killed: what it launched may run on, and belongs to nobody until it is adopted."""
        self.has_gaps |= self.runs
        self.runs, self.live = True, None
        for number, state in self.generations.items():
            if state != "retired":
                self.generations[number] = "left"

    def _stop(self) -> None:
        self.runs, self.live = False, None
        left = [number for number, state in self.generations.items() if state != "retired"]
        self.problems += [f"generation {number} is not retired when the agent stops" for number in left]
        self.problems += [f"deploy {deploy} was never decided" for deploy, done in self.deploys.items() if not done]

    def _deploy(self, event: Event) -> None:
        name, deploy = event["event"], event["deploy"]
        if name == "deploy.requested":
            if self.deploys.setdefault(deploy, False):
                self._object(event, "is decided already")
        elif self.deploys.get(deploy) is not False:
            self._object(event, "is not under way")
        elif name in ENDS:
            self.deploys[deploy] = True
        if (
            name in {"deploy.succeeded", "deploy.rolled_back"}
            and self.runs
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
        """An upgrade leaves a generation as it is; a kill leaves it as it was recorded."""
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
    """What in a journal, told from its beginning, cannot have happened."""
    story = Story()
    for event in events:
        story.tell(event)
    return story.problems
