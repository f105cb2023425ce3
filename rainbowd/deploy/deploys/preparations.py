"""For which releases ``before_launch`` has succeeded, so that a rollback need not run it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rainbowd.deploy.interfaces import Host, LaunchPlan
    from rainbowd.deploy.verdicts import DeployLog

KEPT = 50


class Preparations:
    """The releases that are prepared, remembered for the next agent too.

    A release is known by its path and by its directory's identity, so that one which is made again is not taken for it.
    """

    def __init__(self, verdicts: DeployLog, world: Host) -> None:
        self._verdicts = verdicts
        self._world = world

    def cover(self, plan: LaunchPlan) -> bool:
        """Return whether the hook of ``plan`` has succeeded for its release."""
        found = self._verdicts.memory.prepared.get(str(plan.release))
        return found is not None and found == self._entry(plan)

    def add(self, plan: LaunchPlan) -> None:
        """Remember that the hook of ``plan`` has succeeded for its release; of more than 50 forget the oldest."""
        release = str(plan.release)
        others = {name: entry for name, entry in self._verdicts.memory.prepared.items() if name != release}
        latest = list(others.items())[-KEPT + 1 :]
        self._verdicts.remember(prepared=dict([*latest, (release, self._entry(plan))]))

    def _entry(self, plan: LaunchPlan) -> object:
        hook = plan.config.hooks.before_launch
        words = hook if isinstance(hook, str) or hook is None else list(hook)  # as JSON has it
        return {"hook": words, "identity": self._world.identity(plan.release)}
