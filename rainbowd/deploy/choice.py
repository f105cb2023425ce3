"""Which release a call means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd import release_link
from rainbowd.errors import Declined, UsageError
from rainbowd.report.history import last_live_but
from rainbowd.report.journal import read_events

if TYPE_CHECKING:
    from rainbowd.roster import Roster

BAD_REQUEST, CONFLICT = 400, 409


class Choice:
    """Between what is live, what the link names and what was live before; looks at the disk, so use it in a thread.

    Args:
        release: the link, or the plain directory.
        base: which relative paths of releases are relative to.
        state_dir: with the journal.
    """

    def __init__(self, roster: Roster, release: Path, *, base: Path, state_dir: Path) -> None:
        self._roster = roster
        self._release = release
        self._base = base
        self._state_dir = state_dir

    def named(self) -> Path:
        """The release that the link names, be it there or not."""
        return self._release.resolve()

    def sibling(self, words: str) -> Path:
        """The release ``words``: a bare name beside the present release, or a path.

        Raises:
            Declined: it is none, or not beside that.
        """
        release_link.require_symlink(self._release)
        present = self._present()
        try:
            found = release_link.find_release(words, self._base, present)
        except UsageError as error:
            raise Declined(str(error), BAD_REQUEST) from None
        if found.parent != present.parent:
            raise Declined(f"release: found {found}; expected a directory in {present.parent}", BAD_REQUEST)
        return found

    def previous(self) -> Path:
        """Where a rollback goes: to the live release, or where the link names that to the one before.

        Raises:
            Declined: there is none.
        """
        release_link.require_symlink(self._release)
        live = self._roster.live
        if live is not None and live.release != self.named():
            return live.release
        before = last_live_but(read_events(self._state_dir, "generation.live"), str(self._present()))
        if before is None:
            raise Declined("no other release was live before", CONFLICT)
        if not Path(before).is_dir():
            raise Declined(f"the release that was live before is gone: {before}", CONFLICT)
        return Path(before)

    def _present(self) -> Path:
        """The live release; while nothing is live, the one that the link names."""
        live = self._roster.live
        return live.release if live is not None else self.named()
