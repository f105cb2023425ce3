"""The messages that an agent and its followers send to each other, and their form in JSON.

A reader ignores fields that it does not know, and has a default for fields that were added later.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rainbowd.address import parse_address
from rainbowd.roster import GenerationView, RosterView, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from rainbowd.roster import Roster


@dataclass(frozen=True)
class Message:
    """A message.

    Attributes:
        kind: names its class in JSON.
    """

    kind: ClassVar[str]

    def fields(self) -> dict[str, Any]:
        """Return its content, ready for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return the message with a content that ``fields`` returned, in this or in another version."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})


@dataclass(frozen=True)
class LeaseCounts:
    """The leases on one generation.

    Attributes:
        in_flight: leases of requests.
        tunnels: leases of tunnels.
        requests: the number of all leases so far.
        errors: how many of them the app failed.
    """

    in_flight: int = 0
    tunnels: int = 0
    requests: int = 0
    errors: int = 0

    @classmethod
    def read(cls, content: Mapping[str, int]) -> LeaseCounts:
        """Return the counts that were written by this or by another version."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})


@dataclass(frozen=True)
class Leases(Message):
    """The leases of a follower.

    Attributes:
        leases: by the generation's id.
        live: the id of the generation that is live there.
        heard: the number of the last message from the agent that has taken effect.
        failed: descriptions of the latest errors that were not reported before, by the generation's id.
        refusing: ids of the generations that have refused connections for a whole second.
    """

    kind: ClassVar[str] = "leases"

    leases: Mapping[int, LeaseCounts] = field(default_factory=dict)
    live: int | None = None
    heard: int = 0
    failed: Mapping[int, Sequence[str]] = field(default_factory=dict)
    refusing: Sequence[int] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return the message: see ``Message.read``."""
        return cls(
            decode_leases(content["leases"]),
            content.get("live"),
            content.get("heard", 0),
            {int(number): texts for number, texts in content.get("failed", {}).items()},
            tuple(content.get("refusing", ())),
        )


@dataclass(frozen=True)
class Live(Message):
    """The state of the agent's roster.

    Attributes:
        number: see the package.
        view: the state.
    """

    kind: ClassVar[str] = "live"

    number: int
    view: RosterView

    def fields(self) -> dict[str, Any]:
        """Return its content, ready for JSON."""
        view = self.view
        known = {one.id: _encode_generation(one) for one in view.generations}
        canary = {"id": view.canary, "share_percent": view.share_percent, "by": view.by}
        return {
            "number": self.number,
            "live": None if view.live is None else known[view.live],
            "launch_due": view.is_launch_due,
            "generations": list(known.values()),
            "canary": None if view.canary is None else canary,
        }

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return the message; one of a version that sends only the live generation has a partial view."""
        live, canary = content["live"], content.get("canary") or {}
        is_partial = "generations" not in content
        known = content.get("generations", [] if live is None else [live])
        view = RosterView(
            generations=tuple(map(_decode_generation, known)),
            live=None if live is None else live["id"],
            canary=canary.get("id"),
            share_percent=canary.get("share_percent", 0.0),
            by=canary.get("by", "client"),
            is_launch_due=bool(content["launch_due"]),
            is_partial=is_partial,
        )
        return cls(content["number"], view)


@dataclass(frozen=True)
class Cut(Message):
    """An order to end leases now.

    Attributes:
        generation: the id of the generation.
        count: how many leases.
        tunnels: whether tunnels are ended, and not requests.
    """

    kind: ClassVar[str] = "cut"

    generation: int
    count: int
    tunnels: bool


@dataclass(frozen=True)
class Stop(Message):
    """An order to finish all requests within ``seconds``."""

    kind: ClassVar[str] = "stop"

    seconds: float


def encode_leases(roster: Roster) -> dict[int, LeaseCounts]:
    """Return the leases of every generation, for a message."""
    return {
        number: LeaseCounts(len(generation.holders), len(generation.tunnels), generation.requests, generation.errors)
        for number, generation in roster.generations.items()
    }


def decode_leases(leases: Mapping[str, Mapping[str, int]]) -> dict[int, LeaseCounts]:
    """Return leases that were read from JSON, by the generation's id."""
    return {int(number): LeaseCounts.read(counts) for number, counts in leases.items()}


def _encode_generation(one: GenerationView) -> dict[str, Any]:
    return {"id": one.id, "release": str(one.release), "address": str(one.address), "state": one.state.value}


def _decode_generation(content: Mapping[str, Any]) -> GenerationView:
    return GenerationView(
        content["id"],
        Path(content["release"]),
        parse_address(content["address"]),
        State(content.get("state", State.LIVE.value)),
    )
