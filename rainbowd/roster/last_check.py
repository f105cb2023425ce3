"""The last health check of a generation, as people see it while they wait for a deploy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class LastCheck:
    """The last health check of one generation.

    Attributes:
        result: in a few words, such as ``503 Service Unavailable``; None before the first check.
    """

    result: str | None = None
