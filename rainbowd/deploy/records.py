"""The files that one agent writes for the next: a record of each generation, and a memory of the deploys.

The record is the only source about its generation: how to find its processes, and its last state.  It is written before
the app's first instruction runs, follows every change of state, and is removed when nothing of the generation is left.
The records of two generations cannot change in one instant, so both can say ``live`` for a moment: then the one that
went live last is live.  ``status.json`` is never read for any of this, and the journal only for the deploys that began
and never ended.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbowd.deploy.generations.crash_count import CrashCount
from rainbowd.deploy.process import ProcessIdentity
from rainbowd.deploy.watch.file_state import FileState, Stamp
from rainbowd.release_link import LinkChange
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Raised when a reader of the previous format could misread a file; ``tests/formats`` keeps an example of each."""

_KEYS = {"last_outcome": "decision"}
"""The keys of this format that differ from the name of the field."""


class NewerFormat(ValueError):
    """A file that a later version of rainbowd wrote."""


@dataclass(frozen=True)
class GenerationRecord:
    """The record of one generation.

    Attributes:
        identity: of its first process.
        state: its last state.
        since_seconds: when that state began, by the clock that counts from boot (CLOCK_MONOTONIC).
        started_at, live_at: seconds since the epoch; ``live_at`` is None if it never was live.
        known: its processes at the last search, number to start time: a daemon's mark may be gone.
    """

    identity: ProcessIdentity
    state: State = State.STARTING
    since_seconds: float = 0.0
    started_at: float = 0.0
    live_at: float | None = None
    known: dict[int, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the record as one line of JSON."""
        fields = {
            "format": FORMAT,
            **asdict(self.identity),
            "state": self.state.value,
            "since_seconds": self.since_seconds,
            "started_at": self.started_at,
            "live_at": self.live_at,
            "known": sorted(self.known.items()),
        }
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> GenerationRecord:
        """Read a record.

        Raises:
            NewerFormat: a newer version wrote it.
            ValueError: it is incomplete, or something else.
        """
        fields = decode_fields(data)
        live_at = fields.pop("live_at")
        try:
            return cls(
                state=State(fields.pop("state")),
                since_seconds=float(fields.pop("since_seconds")),
                started_at=float(fields.pop("started_at")),
                live_at=None if live_at is None else float(live_at),
                known={int(pid): int(start_time) for pid, start_time in fields.pop("known")},
                identity=ProcessIdentity.from_fields(fields),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the record of a generation: {error}") from None


@dataclass(frozen=True)
class LastOutcome:
    """The outcome of the last deploy.

    Attributes:
        deploy: the deploy's id.
        result: ``succeeded``, ``rolled_back`` or ``failed``.
        reason: why it failed; None if it did not.
        at_seconds: when it ended, in seconds since the epoch.
        is_rollback: whether a rollback was requested, which can need a launch.
    """

    deploy: str
    result: str
    reason: str | None
    at_seconds: float
    is_rollback: bool = False


@dataclass(frozen=True)
class BakeRecord:
    """A bake that was not over when it was stored. How long it has lasted is what the standby's record says.

    Attributes:
        deploy: the deploy's id.
        generation, previous: the ids of the live generation, and of the one to go back to.
        requests, errors: of the previous generation in its last seconds of being live.
        trigger, note: of the deploy.
        requested_at_seconds: when the deploy was requested, in seconds since the epoch.
        past_release: the release that was live before the previous one, the next target of a rollback.
        link_change: the change of the link that an agent made for the deploy; None if it made none.
        sight_before: the state of the files at the outcome before; None if it is unknown.
    """

    deploy: str
    generation: int
    previous: int
    requests: int
    errors: int
    trigger: str
    note: str | None
    requested_at_seconds: float
    past_release: str | None
    link_change: LinkChange | None = None
    sight_before: FileState | None = None

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> BakeRecord:
        """Return the record that these fields of JSON are."""
        change, before = fields.pop("link_change", None), fields.pop("sight_before", None)
        return cls(
            link_change=None if change is None else _link_change(*change),
            sight_before=None if before is None else _sight(before),
            **fields,
        )


@dataclass(frozen=True)
class DeployMemory:
    """The facts about the deploys that the next agent needs.

    Attributes:
        last_outcome: how the last deploy ended; None before the first has.
        sight: the state of the files at that time.
        live_release: the release that was live last.
        previous_release: another one, which was live before that.
        crashes: of the live release since it was deployed; None for none.
        prepared: the releases for which ``before_launch`` has succeeded, each with the hook and the directory's
            identity at that time; the latest is the last.
        bake: the bake that is under way; None if there is none.
    """

    last_outcome: LastOutcome | None = None
    sight: FileState | None = None
    live_release: Path | None = None
    previous_release: Path | None = None
    crashes: CrashCount | None = None
    prepared: Mapping[str, object] = field(default_factory=dict)
    bake: BakeRecord | None = None

    def encode(self) -> bytes:
        """Return the memory as one line of JSON, without the empty fields that were added to this format later."""
        fields = asdict(self)
        if self.last_outcome is not None and not self.last_outcome.is_rollback:
            del fields["last_outcome"]["is_rollback"]
        if self.bake is not None:
            added_to_bake = ("link_change", "sight_before")
            fields["bake"] = {
                name: value for name, value in fields["bake"].items() if value or name not in added_to_bake
            }
        added = {name for name in ("previous_release", "crashes", "prepared", "bake") if not fields[name]}
        kept = {_KEYS.get(name, name): value for name, value in fields.items() if name not in added}
        return json.dumps({"format": FORMAT, **kept}, default=str).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> DeployMemory:
        """Read a memory that ``encode`` wrote.

        Raises:
            NewerFormat: a newer version wrote it.
            ValueError: it is incomplete, or something else.
        """
        fields = decode_fields(data)
        try:
            decision, sight, live_release = fields["decision"], fields["sight"], fields["live_release"]
            previous_release, crashes = fields.get("previous_release"), fields.get("crashes")
            bake = fields.get("bake")
            return cls(
                last_outcome=None if decision is None else LastOutcome(**decision),
                sight=None if sight is None else _sight(sight),
                live_release=None if live_release is None else Path(live_release),
                previous_release=None if previous_release is None else Path(previous_release),
                crashes=None if crashes is None else CrashCount(**{**crashes, "release": Path(crashes["release"])}),
                prepared=dict(fields.get("prepared", {})),
                bake=None if bake is None else BakeRecord.from_fields(bake),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not what an agent remembers: {error}") from None


def decode_fields(data: bytes, known: int = FORMAT) -> dict[str, Any]:
    """Return the fields of ``data``, without its format.

    Args:
        data: one line of JSON.
        known: the format that it must have.

    Raises:
        NewerFormat, ValueError: it cannot be read.
    """
    try:
        fields = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return require_format(fields, known)


def require_format(fields: object, known: int) -> dict[str, Any]:
    """Return the fields of a file without its format, which must be the known one.

    Raises:
        NewerFormat, ValueError: it is another.
    """
    version = fields.get("format") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > known:
        raise NewerFormat(f"of format {version}, written by a newer rainbowd; this one reads {known}")
    if not isinstance(fields, dict) or version != known:
        raise ValueError("torn, or written by something else")
    return {name: value for name, value in fields.items() if name != "format"}


def _link_change(link: str, before: str | None, stamp: list[int], before_mtime_ns: int | None) -> LinkChange:
    inode, mtime_ns = stamp
    return LinkChange(Path(link), before, (inode, mtime_ns), before_mtime_ns)


def _sight(fields: dict[str, Any]) -> FileState:
    release, link = fields.pop("release"), fields.pop("link")
    return FileState(
        release=None if release is None else Path(release),
        link=None if link is None else Stamp(**link),
        trigger=tuple(Stamp(**stamp) for stamp in fields.pop("trigger")),
        **fields,
    )
