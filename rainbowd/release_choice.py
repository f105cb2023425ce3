"""The release that a deploy or a rollback means: a name or path that someone gave, or the previously live release.

The commands and the API share these rules.  Only the standard library and ``report`` are used, so that the commands
start fast.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.errors import RainbowdError, UsageError
from rainbowd.report.history import previous_release
from rainbowd.report.journal import read_events

if TYPE_CHECKING:
    from rainbowd.report.journal import Event

SHOWN_MAX = 5
"""How many existing releases an error lists."""


def find_release(name: str, base: Path, present: Path | None, link: Path | None = None) -> Path:
    """Return the resolved directory that ``name`` means.

    Args:
        name: a path relative to ``base``, or the bare name of a sibling of the present release.
        base: the directory that relative paths start from.
        present: the live release, or the linked one while nothing is live; None if there is neither.
        link: the release link, near which the error for a first deploy suggests a directory; None for no suggestion.

    Raises:
        UsageError: there is no such directory.
    """
    if not name or "\0" in name:
        raise UsageError("the release must be a name or a path")
    tried = [base / name]
    if present is not None and "/" not in name and name not in {".", ".."}:
        tried.insert(0, present.parent / name)
    for path in tried:
        with contextlib.suppress(OSError):
            if path.is_dir():
                return path.resolve(strict=True)
    paths = ", nor ".join(dict.fromkeys(map(str, tried)))
    hint = _siblings(present) if present is not None else _suggestion(name, base, link)
    raise UsageError(f"no such release: {name}: found no directory {paths}{hint}")


def find_sibling(name: str, base: Path, present: Path) -> Path:
    """Return the release that ``name`` means, like ``find_release``, if it is a sibling of the present release.

    Args:
        name: a bare name, or a path relative to ``base``.
        base: the directory that relative paths start from.
        present: the live release, or the linked one while nothing is live.

    Raises:
        UsageError: there is no such directory, or it is not a sibling.
    """
    release = find_release(name, base, present)
    if release.parent != present.parent:
        raise UsageError(f"release: found {release}; expected a directory in {present.parent}")
    return release


def rollback_target(live: Path | None, linked: Path | None, state_dir: Path) -> Path:
    """Return the release that a rollback deploys.

    If the link points to another release than the live one, that is the live release; otherwise it is the release that
    was live before.  Reads the whole journal in the second case, so the agent calls this in a thread.

    Args:
        live: the live release; None if nothing is live.
        linked: the release that the link points to; None if it points to none.
        state_dir: the directory that contains the journal.

    Raises:
        RainbowdError: no other release was live before, or the journal cannot be read.
        UsageError: the release no longer exists.
    """
    if live is not None and live != linked:
        target = live
    else:
        before = previous_release(_switches(state_dir), str(live or linked))
        if before is None:
            raise RainbowdError("cannot roll back: no other release was live before")
        target = Path(before)
    if not target.is_dir():
        raise UsageError(f"cannot roll back: the release that was live before no longer exists: {target}")
    return target


def _switches(state_dir: Path) -> list[Event]:
    """Return the events that say which release was live, oldest first."""
    events = [*read_events(state_dir, "generation.live"), *read_events(state_dir, "deploy.failed")]
    return sorted(events, key=lambda event: str(event.get("at")))


def _suggestion(name: str, base: Path, link: Path | None) -> str:
    """Return the end of an error that names the directory in a directory next to the link, such as releases/v1."""
    if link is None or "/" in name or name in {".", ".."}:
        return ""
    with contextlib.suppress(OSError):
        for directory in sorted(link.parent.iterdir()):
            if (directory / name).is_dir():
                return f"; did you mean {os.path.relpath(directory / name, base)}?"
    return ""


def _siblings(present: Path) -> str:
    """Return the end of an error that lists the newest releases; empty if they cannot be read."""
    try:
        found = [entry for entry in present.parent.iterdir() if entry.is_dir()]
        found.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    except OSError:
        return ""
    names = [entry.name for entry in found if not entry.name.startswith(".")]
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return f"; there are {', '.join(names[:SHOWN_MAX])}{more}" if names else ""
