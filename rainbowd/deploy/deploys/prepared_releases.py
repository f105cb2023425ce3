"""The releases for which ``before_launch`` has succeeded, so that a rollback to them need not run it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rainbowd.deploy.generations.deploy_memory import MemoryFile
    from rainbowd.deploy.interfaces import DesiredState
    from rainbowd.deploy.launch_plan import LaunchPlan

KEPT = 50


class PreparedReleases:
    """The releases that are prepared, stored for the next agent too.

    A release is identified by its path and by the identity of its directory. A directory that was removed and created
    again under the same path is therefore not prepared.

    Args:
        memory: stores them.
        desired_state: identifies directories.
    """

    def __init__(self, memory: MemoryFile, desired_state: DesiredState) -> None:
        self._memory = memory
        self._desired_state = desired_state

    def includes(self, plan: LaunchPlan) -> bool:
        """Return whether the hook of ``plan`` has succeeded for its release."""
        found = self._memory.content.prepared.get(str(plan.release))
        return found is not None and found == self._entry(plan)

    def add(self, plan: LaunchPlan) -> None:
        """Remember that the hook of ``plan`` has succeeded for its release, and forget all but the last 50."""
        release = str(plan.release)
        others = {name: entry for name, entry in self._memory.content.prepared.items() if name != release}
        latest = list(others.items())[-KEPT + 1 :]
        self._memory.change(prepared=dict([*latest, (release, self._entry(plan))]))

    def _entry(self, plan: LaunchPlan) -> object:
        hook = plan.config.hooks.before_launch
        command = hook if isinstance(hook, str) or hook is None else list(hook)  # JSON has no tuples
        return {"hook": command, "identity": self._desired_state.directory_identity(plan.release)}
