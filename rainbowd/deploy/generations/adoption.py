"""The adoption of what an earlier agent has left, at the start of an agent.

First, each generation gets a role. Of those recorded as live, the one that became live last (by CLOCK_MONOTONIC) stays
live; the same rule picks the standby. Superseded generations drain. Candidates, and generations that were being
stopped, are stopped. Then each continues as a ``Lifecycle``. No deploy begins before stray processes are known.
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
    host: Host,
    generations: Generations,
    recorder: Recorder,
    memory: DeployMemory,
    nursery: trio.Nursery,
    *,
    own_deploys: Callable[[], Collection[str]],
    is_handed_over: bool,
) -> None:
    """Adopt the generations of an earlier agent, and return once it is known which one is live.

    Args:
        host: reads the records, and finds the processes.
        generations: gets the live generation and the standby.
        recorder: writes the journal.
        memory: the memory of the last agent.
        nursery: runs the lifecycles, and the end of stray processes.
        own_deploys: returns the ids of deploys that were requested since this agent runs.
        is_handed_over: whether the earlier agent watched its generations until now, so that they need no check and have
            left nothing to clean up.
    """
    left = [replace(item, is_handed_over=is_handed_over) for item in assign_roles(host.left())]
    adopted = {item.number: generations.adopt(item, nursery) for item in left}
    try:
        for item in left:
            if item.state is State.LIVE:
                await _switch_to(generations, adopted[item.number])
        for item in left:
            if item.state is State.STANDBY and generations.live is None:
                await _switch_to(generations, adopted[item.number])
    finally:
        if not is_handed_over:
            await _clean_up(
                host,
                recorder,
                memory,
                nursery,
                adopted=adopted,
                own_deploys=own_deploys,
                stop_now=generations.stop_now,
            )


def assign_roles(left: Iterable[LeftGeneration]) -> list[LeftGeneration]:
    """Return the generations in the state that each should have: at most one live, at most one standby.

    Args:
        left: the generations as they are recorded.
    """
    by_age = sorted(left, key=lambda item: (item.state is not State.LIVE, item.for_seconds, -item.number))
    warm_seconds = by_age[0].plan.config.standby if by_age else 0.0  # by the config of the live one, as at a switch
    found: list[LeftGeneration] = []
    for item in by_age:
        newer = next((other for other in found if other.state is item.state), None)
        if item.state is State.STARTING:
            found.append(replace(item, state=State.STOPPING))
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


async def _switch_to(generations: Generations, lifecycle: Lifecycle) -> None:
    await lifecycle.ready.wait()
    if lifecycle.is_candidate:
        generations.switch(lifecycle)
    else:
        reason = lifecycle.failure.reason if lifecycle.failure else "exited"
        log.warning("cannot adopt the generation", generation=lifecycle.id, reason=reason)


async def _clean_up(
    host: Host,
    recorder: Recorder,
    memory: DeployMemory,
    nursery: trio.Nursery,
    *,
    adopted: Collection[int],
    own_deploys: Callable[[], Collection[str]],
    stop_now: trio.Event,
) -> None:
    """Record the outcome of deploys that were cut short, and stop stray processes."""
    with trio.CancelScope(shield=True):  # a stop may come right now; bounded by the size of /proc and the journal
        strays, undecided = await host.find_strays(adopted), await host.undecided()
    _record_cut_short(undecided, recorder, memory, own_deploys())
    unrecorded = {number: release for number, release in undecided.generations.items() if number not in adopted}
    nursery.start_soon(_end_strays, host, recorder, strays, unrecorded, stop_now)


async def _end_strays(
    host: Host, recorder: Recorder, strays: Leftovers, unrecorded: Mapping[int, str], stop_now: trio.Event
) -> None:
    """Stop stray processes, and record the end of generations that had no record."""
    await host.end_strays(strays, stop_now)
    for generation_id, release in unrecorded.items():
        recorder.record(
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
        release = event.get("release")
        recorder.record(f"deploy.{result}", deploy=deploy, generation=None, release=release, seconds=None, **output)
