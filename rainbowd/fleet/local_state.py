"""The state of one machine as its fleet describes it: with names of releases instead of paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.fleet.local_deploys import Standing

MIN_ERRORS = 5
"""The least number of errors that counts as a failure of a release."""


def releases_directory(configured: Path | None, standing: Standing) -> Path | None:
    """Return the directory of the releases; None if it is not configured and nothing was ever deployed.

    Args:
        configured: the config's ``releases``.
        standing: what runs now.
    """
    present = standing.live or standing.linked
    return configured or (None if present is None else present.parent)


def release_name(release: Path | None, directory: Path | None) -> str | None:
    """Return the name of a release: that of its directory, or its path if it is somewhere else.

    Args:
        release: the directory; None for none.
        directory: that of the releases.
    """
    if release is None:
        return None
    return release.name if release.parent == directory else str(release)


def trouble(standing: Standing, max_error_rate: float | None) -> str | None:
    """Return what is wrong with the live release; None if nothing is.

    Args:
        standing: what runs now.
        max_error_rate: the lowest share of errors that is a failure; None if errors are not watched.
    """
    if standing.crash is not None:
        return f"crashed: {standing.crash}"
    if max_error_rate is None or standing.errors < MIN_ERRORS:
        return None
    rate = standing.errors / max(standing.requests, 1)
    if rate < max_error_rate:
        return None
    return f"{standing.errors} of {standing.requests} requests failed ({rate:.0%})"
