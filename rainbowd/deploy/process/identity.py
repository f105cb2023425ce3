"""By what a later agent finds a generation's processes again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """One generation's record.

    Attributes:
        pid, pgid: of the child, and its process group.
        start_time: of the child, in clock ticks since boot.
        boot_id: of the boot that number and time belong to.
        state_dir, generation: the marker in the environment of its processes.
        release: the resolved directory.
        address: where it is reached, as ``status.json`` writes it.
        pidfile: where a daemon says which process it is.
    """

    pid: int
    pgid: int
    start_time: int
    boot_id: str
    state_dir: str
    generation: int
    release: str
    address: str
    pidfile: str

    def to_json(self) -> str:
        """The record, one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Identity:
        """Read a record.

        Raises:
            ValueError: it is torn, or another version's.
        """
        fields = json.loads(text)
        if not isinstance(fields, dict) or {name: type(value).__name__ for name, value in fields.items()} != (
            cls.__annotations__
        ):
            raise ValueError(f"not the record of a generation: {text[:200]}")
        return cls(**fields)


def boot_id() -> str:
    """Of the boot that this is (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
