"""What a change of the release link means: something new, a way back, or a link that is restored after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.deploy.watch.watcher import Trigger


def is_rollback(trigger: Trigger, named: Path | None, *, is_turned: bool, past: Collection[Path | None]) -> bool:
    """Return whether ``trigger`` goes back to a release instead of asking for a new one.

    A command and a call say which it is.  A link that is pointed by hand to the live release, or to the release that
    was live before it, is a rollback too.

    Args:
        trigger: what asks for a deploy.
        named: the release that the files name now.
        is_turned: whether the link named another release before.
        past: the live release and the one that was live before it.
    """
    is_by_hand = trigger.kind == "symlink" and trigger.request is None
    return trigger.is_rollback or (is_by_hand and is_turned and named in past)


def is_restored(before: FileState | None, now: FileState | None) -> bool:
    """Return whether the link is again as it was before a deploy that failed.

    ``link.turn_back`` gives a link its old mtime, which nobody else does.

    Args:
        before: what the files looked like before that deploy.
        now: what they look like.
    """
    if before is None or now is None or before.link is None or now.link is None:
        return False
    return before.release == now.release and before.link.mtime_ns == now.link.mtime_ns
