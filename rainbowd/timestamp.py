"""Times as all files, log lines and responses contain them."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(at: datetime) -> str:
    """Return a time in UTC with milliseconds, as RFC 3339 has it: ``2026-11-23T10:00:00.000Z``.

    Args:
        at: the time, with a time zone.
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
