"""The adoption of what an earlier agent has left, at the start of an agent.

First, each generation gets a role. Of those recorded as live, the one that became live last (by CLOCK_MONOTONIC) stays
live; the same rule picks the standby. Superseded generations and canaries drain. Candidates, and generations that were
being stopped, are stopped. Then each continues as a ``Lifecycle``. No deploy begins before stray processes are known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from rainbowd.config import FOREVER_SECONDS
from rainbowd.deploy.failures import KILLED
from rainbowd.deploy.watch.file_state import link_changed, trigger_touched
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.generations.generations import Generations
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.interfaces import RecordedGeneration, UndecidedDeploys
    from rainbowd.deploy.process import Leftovers
    from rainbowd.deploy.records import BakeRecord, DeployMemory
    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.report.recorder import Recorder

log = get_logger()


async def adopt(
    context: DeployContext,
    generations: Generations,
    memory: DeployMemory,
    *,
    own_deploys: Callable[[], Collection[str]],
    is_handed_over: bool,
) -> None:
    """Adopt the generations of an earlier agent, and return once it is known which one is live.

    Args:
        context: see ``DeployContext``.
        generations: gets the live generation and the standby.
        memory: the memory of the last agent.
        own_deploys: returns the ids of deploys that were requested since this agent runs.
        is_handed_over: whether the earlier agent watched its generations until now, so that they need no check and have
            left nothing to clean up.
    """
    recorded = [
        replace(item, is_handed_over=is_handed_over)
        for item in assign_roles(context.host.previous_run.recorded_generations())
    ]
    if memory.bake is not None:
        recorded = [_kept_for(memory.bake, item) for item in recorded]
    generations.companions.recall([item.id for item in recorded if item.state is State.LIVE])
    adopted = {item.id: generations.adopt(item) for item in recorded}
    try:
        for item in recorded:
            if item.state is State.LIVE:
                await _switch_to(generations, adopted[item.id], memory.bake)
        for item in recorded:
            if item.state is State.STANDBY and generations.live is None:
                await _switch_to(generations, adopted[item.id], memory.bake)
    finally:
        generations.companions.end_recorded()
        if is_handed_over:
            generations.companions.strays_ended.set()
        else:
            await _clean_up(context, memory, adopted, own_deploys, generations.companions.strays_ended)


def assign_roles(recorded: Iterable[RecordedGeneration]) -> list[RecordedGeneration]:
    """Return the generations in the state that each should have: at most one live, at most one standby.

    Args:
        recorded: the generations as they are recorded.
    """
    by_age = sorted(recorded, key=lambda item: (item.state is not State.LIVE, item.for_seconds, -item.id))
    warm_seconds = by_age[0].plan.config.standby if by_age else 0.0  # by the config of the live one, as at a switch
    found: list[RecordedGeneration] = []
    for item in by_age:
        newer = next((other for other in found if other.state is item.state), None)
        if item.state is State.STARTING:
            found.append(replace(item, state=State.STOPPING))
        elif item.state is State.CANARY:
            found.append(replace(item, state=State.DRAINING, for_seconds=0.0))
        elif item.state in {State.LIVE, State.STANDBY} and newer is not None:
            found.append(replace(item, state=State.DRAINING, for_seconds=newer.for_seconds))
        else:
            found.append(replace(item, warm_seconds=warm_seconds))
    return found


def should_deploy(memory: DeployMemory, now: FileState | None, named: Path | None, live_release: Path) -> bool:
    """Return whether a starting agent deploys the release that the files name, although nobody has requested it.

    The release is then not live, because the standby stood in for it when the agent was killed, or because its deploy
    was cut short. A release whose deploy has failed waits for a request. Changes of the files since the last outcome
    are left to the watcher.

    Args:
        memory: the memory of the last agent.
        now: the state of the files; None if it is unknown.
        named: the release that the files name; None if they name none.
        live_release: the release that is live.
    """
    if named == live_release:
        return False
    if memory.sight is None or now is None:
        return True
    is_unchanged = not link_changed(memory.sight, now) and not trigger_touched(memory.sight, now)
    return is_unchanged and (memory.last_outcome is None or memory.last_outcome.result != "failed")


def _kept_for(bake: BakeRecord, item: RecordedGeneration) -> RecordedGeneration:
    """Return ``item`` as it should be adopted: the previous generation of a bake stays warm until its end."""
    is_needed = item.id == bake.previous and item.state is State.STANDBY
    return replace(item, warm_seconds=FOREVER_SECONDS) if is_needed else item


async def _switch_to(generations: Generations, lifecycle: Lifecycle, bake: BakeRecord | None) -> None:
    await lifecycle.ready.wait()
    if lifecycle.is_candidate:
        is_baking = bake is not None and bake.generation == lifecycle.id
        generations.switch(lifecycle, warm_seconds=FOREVER_SECONDS if is_baking else None)
    else:
        reason = lifecycle.failure.reason if lifecycle.failure else "exited"
        log.warning("cannot adopt the generation", generation=lifecycle.id, reason=reason)


async def _clean_up(
    context: DeployContext,
    memory: DeployMemory,
    adopted: Collection[int],
    own_deploys: Callable[[], Collection[str]],
    strays_ended: trio.Event,
) -> None:
    """Record the outcome of deploys that were cut short, and stop stray processes."""
    previous_run = context.host.previous_run
    with trio.CancelScope(shield=True):  # a stop may come right now; bounded by the size of /proc and the journal
        leftovers, undecided = await previous_run.find_leftovers(adopted), await previous_run.undecided_deploys()
    continued = [] if memory.bake is None else [memory.bake.deploy]
    _record_cut_short(undecided, context.recorder, memory, [*own_deploys(), *continued])
    unrecorded = {number: release for number, release in undecided.generations.items() if number not in adopted}
    context.nursery.start_soon(_end_leftovers, context, leftovers, unrecorded, strays_ended)


async def _end_leftovers(
    context: DeployContext, leftovers: Leftovers, unrecorded: Mapping[int, str], strays_ended: trio.Event
) -> None:
    """Stop stray processes, and record the end of generations that had no record."""
    await context.host.previous_run.end_leftovers(leftovers, context.stop_now)
    strays_ended.set()
    for generation_id, release in unrecorded.items():
        context.recorder.record(
            "generation.retired", generation=generation_id, release=release, exit_status=None, killed=False, left=[]
        )


def _record_cut_short(
    undecided: UndecidedDeploys, recorder: Recorder, memory: DeployMemory, own_deploys: Collection[str]
) -> None:
    last = memory.last_outcome
    for deploy, event in undecided.deploys.items():
        if deploy in own_deploys:
            continue
        if last is not None and last.deploy == deploy:  # it had an outcome, which the journal has missed
            result, reason = last.result, last.reason
        else:
            result, reason = "failed", KILLED
        output: dict[str, object] = {"reason": reason, "output": []} if result == "failed" else {}
        known = {"trigger": event.get("trigger"), "release": event.get("release")}
        recorder.record(f"deploy.{result}", deploy=deploy, generation=None, seconds=None, **known, **output)
