"""The meaning of a link change: a new release, a rollback, or a link that is restored after a failed deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.deploy.watch.watcher import Trigger


def is_rollback(trigger: Trigger, named: Path | None, *, is_link_changed: bool, past: Collection[Path | None]) -> bool:
    """Return whether ``trigger`` returns to an earlier release instead of requesting a new one.

    Commands and API calls state which it is. A link that somebody points by hand at the live release, or at the
    release that was live before it, is a rollback too.

    Args:
        trigger: what requests the deploy.
        named: the release that the files name now; None if they name none.
        is_link_changed: whether the link named another release before.
        past: the live release, and the release that was live before it.
    """
    is_by_hand = trigger.kind == "symlink" and trigger.request is None
    return trigger.is_rollback or (is_by_hand and is_link_changed and named in past)


def is_restored(before: FileState | None, now: FileState | None) -> bool:
    """Return whether the link is again as it was before a deploy that has failed.

    Only ``release_link.restore`` gives a link its old mtime back.

    Args:
        before: the state of the files before that deploy; None if it is unknown.
        now: the current state of the files; None if it is unknown.
    """
    if before is None or now is None or before.link is None or now.link is None:
        return False
    return before.release == now.release and before.link.mtime_ns == now.link.mtime_ns
