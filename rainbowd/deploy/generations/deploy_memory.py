"""The memory of the deploys, which every change stores for the next agent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbowd.deploy.generations.crash_count import count_crash
from rainbowd.deploy.records import DeployMemory

if TYPE_CHECKING:
    from rainbowd.deploy.interfaces import Host


class MemoryFile:
    """The memory in its file.

    Args:
        host: reads and stores the file.

    Attributes:
        content: the memory, as the next agent will read it.
    """

    def __init__(self, host: Host) -> None:
        self.content = DeployMemory()
        self._host = host

    def load(self) -> DeployMemory:
        """Read and return the memory of the previous agent."""
        self.content = self._host.previous_run.read_memory()
        return self.content

    def change(self, **changes: Any) -> None:
        """Change fields of the memory, and store it.

        Args:
            changes: the new values, by the field's name.
        """
        self.content = replace(self.content, **changes)
        self._host.previous_run.store_memory(self.content)

    def add_switch(self, release: Path) -> None:
        """Remember that ``release`` is live, and the release before it as the target of a rollback."""
        before = self.content.live_release
        previous = before if before != release else self.content.previous_release
        self.change(live_release=release, previous_release=previous)

    def undo_switch(self, live_release: Path) -> None:
        """Remember the releases as they were before a bake that has failed: its release is no target of a rollback.

        Args:
            live_release: the release that was live before.
        """
        bake = self.content.bake
        if bake is not None:
            past_release = None if bake.past_release is None else Path(bake.past_release)
            self.change(live_release=live_release, previous_release=past_release)

    def add_crash(self, release: Path, generation_id: int, reason: str) -> None:
        """Count a crash of the live generation.

        Args:
            release: that it ran.
            generation_id: the id of the generation.
            reason: why it crashed, in words.
        """
        self.change(crashes=count_crash(self.content.crashes, release, generation_id, self._host.now(), reason))

    def last_good_release(self) -> Path | None:
        """Return the release that was live last and still exists; None if there is none."""
        past = self.content.live_release, self.content.previous_release
        exists = self._host.desired_state.release_exists
        return next((release for release in past if release is not None and exists(release)), None)
