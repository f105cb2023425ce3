"""The deploy of an earlier agent whose bake was not over: it is continued, or ended with what has happened since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.bake import Bake
from rainbowd.deploy.deploys.deploy import Deploy
from rainbowd.deploy.deploys.link_restoration import restore_link_if_failed
from rainbowd.deploy.failures import KILLED, RolledBack
from rainbowd.deploy.generations.error_rate import Counts
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.generations.deploy_memory import MemoryFile
    from rainbowd.deploy.generations.generations import Generations
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.records import BakeRecord

ResumedBake = tuple["Lifecycle", Bake | None] | DeployFailed
"""The live generation and the rest of its bake, None if nothing is left to go back to; or why the deploy failed."""


def resume_bake(
    record: BakeRecord, context: DeployContext, generations: Generations, memory: MemoryFile
) -> tuple[Deploy, ResumedBake]:
    """Return the deploy of ``record``, and its bake; if the bake fails, a task restores the link.

    Args:
        record: what the earlier agent has stored.
        context: see ``DeployContext``.
        generations: that this agent has adopted.
        memory: has the record, which is removed if nothing is left to watch.
    """
    deploy, live, standby = _deploy(record, context), generations.live, generations.standby
    if live is not None and live.id in {record.generation, record.previous}:
        context.nursery.start_soon(restore_link_if_failed, deploy)
    if live is not None and live.id == record.generation:
        deploy.plan, deploy.release = live.plan, live.plan.release
        if standby is not None and standby.id == record.previous:
            deploy.previous = standby.plan
            before = Counts(record.requests, record.errors)
            bake = Bake(live, standby, context, generations, before, past_seconds=standby.warm_for_seconds)
            return deploy, (live, bake)
        memory.change(bake=None)
        return deploy, (live, None)
    failure = DeployFailed(KILLED)
    if live is not None and live.id == record.previous:
        memory.undo_switch(live.plan.release)
        failure = RolledBack("rolled back: the app exited while no agent was running", live.id)
    memory.change(bake=None)
    return deploy, failure


def _deploy(record: BakeRecord, context: DeployContext) -> Deploy:
    age_seconds = max(0.0, context.host.now() - record.requested_at_seconds)
    return Deploy(
        id=record.deploy,
        is_link_change_only=False,
        trigger=record.trigger,
        note=record.note,
        generation=record.generation,
        requested_at=trio.current_time() - age_seconds,
        requested_at_seconds=record.requested_at_seconds,
        link_change=record.link_change,
        file_state_before=record.sight_before,
    )
