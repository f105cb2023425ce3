"""The record of a companion process, which one agent writes for the next; see ``records``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from rainbowd.deploy.process import ProcessIdentity
from rainbowd.deploy.records import decode_fields

FORMAT = 1


@dataclass(frozen=True)
class CompanionRecord:
    """The record of one companion process.

    Attributes:
        identity: of its first process.
        name, instance: which process it is.
        owner: the generation that it belongs to now; it was launched for ``identity.generation``.
        started_at: seconds since the epoch.
        restarts: how often it was started again before.
        asked_seconds: when it was asked to end, by CLOCK_MONOTONIC; None if it was not.
        known: its processes when they were last searched for, number to start time.
    """

    identity: ProcessIdentity
    name: str
    instance: int
    owner: int
    started_at: float
    restarts: int = 0
    asked_seconds: float | None = None
    known: dict[int, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the record as one line of JSON."""
        fields = {**asdict(self), "format": FORMAT, "known": sorted(self.known.items())}
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> CompanionRecord:
        """Read a record.

        Args:
            data: what ``encode`` returned.

        Raises:
            NewerFormat: a newer version wrote it.
            ValueError: it is incomplete, or something else.
        """
        fields = decode_fields(data, FORMAT)
        try:
            asked = fields["asked_seconds"]
            return cls(
                identity=ProcessIdentity.from_fields(fields["identity"]),
                name=str(fields["name"]),
                instance=int(fields["instance"]),
                owner=int(fields["owner"]),
                started_at=float(fields["started_at"]),
                restarts=int(fields["restarts"]),
                asked_seconds=None if asked is None else float(asked),
                known={int(pid): int(start_time) for pid, start_time in fields["known"]},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the record of a companion process: {error}") from None
