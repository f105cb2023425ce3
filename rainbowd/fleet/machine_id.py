"""The identity of a machine of a fleet, apart from its name."""

from __future__ import annotations

import hashlib
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
"""machine-id(5)."""


def machine_id(state_dir: Path) -> str:
    """Return what identifies this machine and its agent.

    Args:
        state_dir: of the agent; several agents of one machine differ in it.
    """
    try:
        own = MACHINE_ID.read_text().strip()
    except OSError:
        own = ""
    return hashlib.sha256(f"{own}:{state_dir.resolve()}".encode()).hexdigest()[:32]
