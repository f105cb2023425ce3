"""At start: what an earlier agent left is taken over, left its time, or ended; what it was deciding is told.

First the roles, which are plain: of those on record as live the one that has been so for the shortest time is to be
live, by the clock that nobody sets; of standbys likewise; what was superseded drains; candidates, and what was being
ended, are at their end.  Then each is what it was, a ``Lifecycle``.  No deploy begins before the strays are known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.interfaces import KILLED
from rainbowd.deploy.watch.file_state import link_changed, trigger_touched
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from rainbowd.deploy.generations.generations import Generations
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.interfaces import Host, LeftGeneration, UndecidedDeploys
    from rainbowd.deploy.process import Leftovers
    from rainbowd.deploy.records import DeployMemory
    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.report.recorder import Recorder

log = get_logger()


async def adopt(
    world: Host,
    succession: Generations,
    recorder: Recorder,
    memory: DeployMemory,
    lives: trio.Nursery,
    *,
    own: Callable[[], Collection[str]],
    is_handed_over: bool,
) -> None:
    """Take over what an earlier agent left; returns once it is known what is live.

    Args:
        world: where it was left.
        succession: gets what is live, and the standby.
        recorder: is told.
        memory: of the last agent.
        lives: the nursery for the lives, and for the ending of strays.
        own: ids of those asked for since this agent runs.
        is_handed_over: the earlier agent saw to it until now, so that there is nothing to prove, or to clear up.
    """
    left = [replace(one, is_handed_over=is_handed_over) for one in assign_roles(world.left())]
    taken = {one.number: succession.take_in(one, lives) for one in left}
    try:
        for one in left:
            if one.state is State.LIVE:
                await _take_traffic(succession, taken[one.number])
        for one in left:
            if one.state is State.STANDBY and succession.live is None:
                await _take_traffic(succession, taken[one.number])
    finally:
        if not is_handed_over:
            await _clear_up(world, recorder, memory, lives, taken=taken, own=own, hurry=succession.hurry)


def assign_roles(left: Iterable[LeftGeneration]) -> list[LeftGeneration]:
    """What each is to be: at most one live, at most one standby."""
    by_age = sorted(left, key=lambda one: (one.state is not State.LIVE, one.for_seconds, -one.number))
    warm_seconds = by_age[0].plan.config.standby if by_age else 0.0  # as what it stands by for was launched
    found: list[LeftGeneration] = []
    for one in by_age:
        newer = next((other for other in found if other.state is one.state), None)
        if one.state is State.STARTING:
            found.append(replace(one, state=State.STOPPING))
        elif one.state in {State.LIVE, State.STANDBY} and newer is not None:
            found.append(replace(one, state=State.DRAINING, for_seconds=newer.for_seconds))
        else:
            found.append(replace(one, warm_seconds=warm_seconds))
    return found


def should_deploy(memory: DeployMemory, now: FileState | None, named: Path | None, live_release: Path) -> bool:
    """Whether what the files name is to be deployed although nobody has touched them since the last decision.

    It is not live: another bridged for it when the agent was killed, or its deploy was cut off.  One that failed is
    left until somebody asks; so is all that the watching will report by itself.
    """
    if named == live_release:
        return False
    if memory.sight is None or now is None:
        return True
    is_as_it_was = not link_changed(memory.sight, now) and not trigger_touched(memory.sight, now)
    return is_as_it_was and (memory.decision is None or memory.decision.result != "failed")


async def _take_traffic(succession: Generations, life: Lifecycle) -> None:
    await life.ready.wait()
    if life.is_candidate:
        succession.switch(life)
    else:
        log.warning("cannot be adopted", generation=life.number, why=life.failure.reason if life.failure else "ended")


async def _clear_up(
    world: Host,
    recorder: Recorder,
    memory: DeployMemory,
    lives: trio.Nursery,
    *,
    taken: Collection[int],
    own: Callable[[], Collection[str]],
    hurry: trio.Event,
) -> None:
    """Tell what was undecided, and end strays."""
    with trio.CancelScope(shield=True):  # also where a stop comes right now; bounded by the size of /proc and journal
        strays, undecided = await world.find_strays(taken), await world.undecided()
    _tell_decisions(undecided, recorder, memory, own())
    generations = {number: release for number, release in undecided.generations.items() if number not in taken}
    lives.start_soon(_end_strays, world, recorder, strays, generations, hurry)


async def _end_strays(
    world: Host, recorder: Recorder, strays: Leftovers, generations: Mapping[int, str], hurry: trio.Event
) -> None:
    """End them, and tell so of the generations that there was no record of."""
    await world.end_strays(strays, hurry)
    for number, release in generations.items():
        recorder.record(
            "generation.retired", generation=number, release=release, exit_status=None, killed=False, left=[]
        )


def _tell_decisions(
    undecided: UndecidedDeploys, recorder: Recorder, memory: DeployMemory, own: Collection[str]
) -> None:
    decision = memory.decision
    for deploy, event in undecided.deploys.items():
        if deploy in own:
            continue
        if decision is not None and decision.deploy == deploy:  # it was decided, and there was no time to tell
            result, reason = decision.result, decision.reason
        else:
            result, reason = "failed", KILLED
        output: dict[str, object] = {"reason": reason, "output": []} if result == "failed" else {}
        release = event.get("release")
        recorder.record(f"deploy.{result}", deploy=deploy, generation=None, release=release, seconds=None, **output)
