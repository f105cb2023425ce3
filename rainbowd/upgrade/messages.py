"""The messages of a handover, from the start of the new agent until it is the agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from rainbowd.peers import LeaseCounts, Leases, Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = 1
"""Of the messages; raised when a reader of the format before could misread them."""


@dataclass(frozen=True)
class Offered(Message):
    """What the old agent offers: see ``Offer``; with the descriptors of the lock, of stderr and of the sockets.

    Attributes:
        sockets: the address in the config and the part of the agent, for each listening socket.
    """

    kind: ClassVar[str] = "offer"

    format: int
    version: str
    pid: int = 0
    state_dir: str = ""
    soft_limit: int = 0
    config: str | None = None
    directory: str | None = None
    sockets: Sequence[Mapping[str, str | None]] = ()


@dataclass(frozen=True)
class Prepared(Message):
    """The new agent can take over."""

    kind: ClassVar[str] = "prepared"


@dataclass(frozen=True)
class HandedOver(Message):
    """The old agent has let go of the generations, and keeps its leases.

    Attributes:
        leases: of the old agent, by the generation's id.
        live: the id of the live generation.
    """

    kind: ClassVar[str] = "yours"

    leases: Mapping[int, LeaseCounts] = field(default_factory=dict)
    live: int | None = None

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return the message: see ``Message.read``."""
        report = Leases.read(content)
        return cls(report.leases, report.live)

    @property
    def report(self) -> Leases:
        """The first report of the old agent as a follower."""
        return Leases(self.leases, self.live)


@dataclass(frozen=True)
class Ready(Message):
    """The new process is the agent.

    Attributes:
        taken: whether it listens on each of the offered sockets.
    """

    kind: ClassVar[str] = "ready"

    taken: Sequence[bool] = ()
