"""The companion processes of all generations: those of the live generation run, and all others end.

They start when their generation goes live, and are asked to end as soon as another generation is live, because they
have no requests to finish.  If a crashed app is launched again from the same plan, its companions move to the new
generation as they are.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.companion_interfaces import Instance
from rainbowd.deploy.generations.companion import Companion
from rainbowd.log import get_logger
from rainbowd.roster import KeptProcesses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from rainbowd.deploy.companion_interfaces import RecordedCompanion
    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.roster import Generation, ProcessStatus

log = get_logger()


class CompanionGroup:
    """The companion processes of one generation.

    Args:
        plan: of the generation.
        generation_id: the generation that they belong to.
        until_turn: waits until a process may start: at once, or when those of older generations have ended.

    Attributes:
        plan, generation_id: see above.
        companions: one for each instance of each name.
    """

    def __init__(
        self, plan: LaunchPlan, generation_id: int, until_turn: Callable[[CompanionGroup, Instance], Awaitable[None]]
    ) -> None:
        self.plan = plan
        self.generation_id = generation_id
        self.companions: list[Companion] = []
        self._until_turn = until_turn

    @property
    def is_over(self) -> bool:
        """Whether none of them is left."""
        return all(companion.ended.is_set() for companion in self.companions)

    @property
    def statuses(self) -> list[ProcessStatus]:
        """The status of each of them."""
        return [companion.status for companion in self.companions]

    def start(self, context: DeployContext, recorded: Iterable[RecordedCompanion], *, is_live: bool) -> None:
        """Adopt the processes that an earlier agent left, and start those that are missing.

        Args:
            context: see ``DeployContext``.
            recorded: what an earlier agent recorded for this generation.
            is_live: whether the generation is live, so that all its processes should run.
        """
        adopted = {item.instance: item for item in recorded if item.instance.name in self.plan.config.processes}
        for instance in sorted({*adopted, *(instances(self.plan) if is_live else ())}):
            companion = Companion(
                instance,
                self.plan,
                self.generation_id,
                context,
                until_turn=partial(self._until_turn, self, instance),
                recorded=adopted.get(instance),
            )
            self.companions.append(companion)
            context.nursery.start_soon(companion.run)

    def end(self) -> None:
        """Ask all of them to end."""
        for companion in self.companions:
            companion.end()

    def move_to(self, generation_id: int) -> None:
        """Belong to another generation, which was launched from the same plan."""
        self.generation_id = generation_id
        for companion in self.companions:
            companion.move_to(generation_id)

    async def until_ended(self, name: str | None = None) -> None:
        """Wait until none of them is left.

        Args:
            name: wait only for those of this name.
        """
        for companion in self.companions:
            if name is None or companion.instance.name == name:
                await companion.ended.wait()


class Companions:
    """The companion processes of all generations.

    Args:
        context: see ``DeployContext``.

    Attributes:
        strays_ended: set once no process of an earlier agent is left that has no record; it may be a companion process.
    """

    def __init__(self, context: DeployContext) -> None:
        self.strays_ended = trio.Event()
        self._context = context
        self._groups: list[CompanionGroup] = []
        self._current: CompanionGroup | None = None
        self._recorded: dict[int, list[RecordedCompanion]] = {}

    @property
    def kill_after_seconds(self) -> float:
        """The longest time after which a companion process is killed; 0 if none runs."""
        running = [one for group in self._groups if not group.is_over for one in group.plan.config.processes.values()]
        return max((settings.stop.kill_after for settings in running), default=0.0)

    def recall(self, live_ids: Collection[int]) -> None:
        """Read what an earlier agent recorded, and end all companion processes except those of a live generation.

        Args:
            live_ids: the generations that may be live soon.
        """
        for item in self._context.host.companion_launcher.recorded_companions():
            if item.asked_for_seconds is not None:
                self._add(item.plan, item.generation_id, [item], is_live=False).end()
            else:
                self._recorded.setdefault(item.generation_id, []).append(item)
        self.end_recorded([generation_id for generation_id in self._recorded if generation_id not in live_ids])

    def end_recorded(self, generation_ids: Collection[int] | None = None) -> None:
        """End companion processes that an earlier agent left, and that no live generation has taken over.

        Args:
            generation_ids: the generations that they belong to; None for all.
        """
        for generation_id in list(self._recorded) if generation_ids is None else generation_ids:
            recorded = self._recorded.pop(generation_id)
            self._add(recorded[0].plan, generation_id, recorded, is_live=False).end()

    def went_live(self, generation: Generation, plan: LaunchPlan) -> None:
        """Run the companion processes of the generation that is live now, and end all others.

        Args:
            generation: the live generation.
            plan: that it was launched from.
        """
        current = self._current
        if current is not None and current.plan is plan:
            if (before := self._context.roster.generations.get(current.generation_id)) is not None:
                before.processes = []
            current.move_to(generation.id)
        else:
            self.end()
            recorded = self._recorded.pop(generation.id, [])
            self.end_recorded()  # before those of this generation wait for their turn
            current = self._add(plan, generation.id, recorded, is_live=True)
        self._current = current
        generation.processes = current.statuses

    @property
    def kept(self) -> KeptProcesses | None:
        """The companion processes that go on while their app is launched again; None while it runs."""
        current = self._current
        if current is None or not current.companions or current.generation_id in self._context.roster.generations:
            return None
        return KeptProcesses(current.generation_id, current.statuses)

    def statuses_of(self, generation_id: int) -> list[ProcessStatus]:
        """Return the status of each companion process that belongs to a generation."""
        return [status for group in self._groups if group.generation_id == generation_id for status in group.statuses]

    def end(self) -> None:
        """Ask all companion processes to end: another generation is live, or the agent stops."""
        if self._current is not None:
            self._current.end()
            self._current = None

    def restart(self, name: str, *, by: str | None = None, request: str | None = None) -> None:
        """Start all companion processes of a name again.

        Args:
            name: the key in ``processes``.
            by: who requested it.
            request: the id by which the requester finds the event.
        """
        found = [one for one in self._current.companions if one.instance.name == name] if self._current else []
        if found:
            log.info("process.restarting", process=name, instances=len(found), by=by)
        else:
            log.warning("cannot restart: the live generation has no such process", process=name, by=by)
        self._context.recorder.record("process.restarting", process=name, by=by, request=request, instances=len(found))
        for companion in found:
            companion.restart()

    async def until_ended(self, generation_id: int) -> None:
        """Wait until no companion process of a generation is left, except those that the live generation took over."""
        for group in list(self._groups):
            if group.generation_id == generation_id and group is not self._current:
                await group.until_ended()

    def _add(
        self, plan: LaunchPlan, generation_id: int, recorded: Iterable[RecordedCompanion], *, is_live: bool
    ) -> CompanionGroup:
        self._groups = [group for group in self._groups if not group.is_over]
        group = CompanionGroup(plan, generation_id, self._until_turn)
        group.start(self._context, recorded, is_live=is_live)
        self._groups.append(group)
        return group

    async def _until_turn(self, group: CompanionGroup, instance: Instance) -> None:
        """Wait until ``instance`` may start: without ``overlap``, after those of its name in older generations."""
        if not instance.settings(group.plan).overlap:
            await self.strays_ended.wait()
            for older in self._groups[: self._groups.index(group)]:
                await older.until_ended(instance.name)


def instances(plan: LaunchPlan) -> list[Instance]:
    """Return every companion process that a generation of ``plan`` has."""
    return [
        Instance(name, number)
        for name, settings in plan.config.processes.items()
        for number in range(1, settings.instances + 1)
    ]
