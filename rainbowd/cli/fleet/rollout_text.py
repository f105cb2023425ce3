"""The progress of a rollout in words, from one document to the next; plain functions, without a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.fleet.models import Phase, State
from rainbowd.fleet.orders import absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rainbowd.fleet.documents import Documents
    from rainbowd.fleet.models import Order, Progress

OUTPUT_LINES = 20


def headline(order: Order, documents: Documents) -> str:
    """Return what was ordered, in one line."""
    count = len(order.members)
    waves = " | ".join(" ".join(wave) for wave in order.waves)
    pace = "one at a time" if order.parallel == 1 else f"{min(order.parallel, count)} at a time"
    away = absent(documents)
    noted = f"; {' '.join(away)} {'is' if len(away) == 1 else 'are'} absent" if away else ""
    return f"rollout {order.id} of {order.release} by {order.by} over {_members(count)}: {waves}, {pace}{noted}"


def steps(order: Order, before: Progress | None, now: Progress, documents: Documents) -> Iterator[str]:
    """Yield the lines for what has happened between two documents; lines of output are indented.

    Args:
        order: the rollout.
        before: the last document that was shown; None for none.
        now: the present document.
        documents: all, for the output of members that failed.
    """
    old_phase = before.phase if before is not None else Phase.PREPARING
    if old_phase is Phase.PREPARING and now.phase not in {Phase.PREPARING, Phase.FAILED}:
        yield f"{_members(len(now.members))} {'has' if len(now.members) == 1 else 'have'} {order.release}"
    old_turns = before.members if before is not None else {}
    changed = [name for name, turn in now.members.items() if turn != old_turns.get(name)]
    # One document can show both: a member has ended its turn, and the next one has begun.
    for name in sorted(changed, key=lambda name: now.members[name].state is State.CLAIMED):
        yield from _turn(order, name, now, before, documents)
    if now.phase is not old_phase and now.phase is Phase.ROLLING_BACK:
        yield f"going back: {' '.join(now.of(State.LIVE, State.REVERTING, State.REVERTED)) or 'nothing was deployed'}"
    if now.phase is not old_phase and now.phase is Phase.BAKING and order.bake:
        yield f"wave {now.wave + 1} bakes for {order.bake:g} s"


def _turn(order: Order, name: str, now: Progress, before: Progress | None, documents: Documents) -> Iterator[str]:
    turn = now.members[name]
    match turn.state:
        case State.CLAIMED:
            others = [one for one in order.waves[now.wave] if before is not None and _has_begun(before, one)]
            yield f"{'' if others or now.wave == 0 else f'wave {now.wave + 1}: '}{name} deploys"
        case State.LIVE:
            yield f"{name} is live on {order.release}"
        case State.FAILED | State.LOST:
            yield f"{name}: {turn.state}: {turn.reason}"
            document = documents.members.get(name)
            lines = document.output[-OUTPUT_LINES:] if document is not None and turn.state is State.FAILED else ()
            yield from (f"  {line}" for line in lines)
        case State.REVERTED:
            yield f"{name} is back"
        case _:
            return


def _has_begun(progress: Progress, name: str) -> bool:
    return name in progress.members and progress.members[name].state is not State.PREPARED


def ending(order: Order, progress: Progress, documents: Documents, seconds: float) -> str:
    """Return how a rollout ended, in one line.

    Args:
        order: the rollout.
        progress: its last document.
        documents: all, for the members that are absent.
        seconds: how long it took.
    """
    after = f"after {seconds:.1f} s"
    why = f"was {order.abort}" if order.abort else f"failed on {' '.join(progress.bad)}" if progress.bad else "failed"
    back = order.previous or "its release from before"
    match progress.phase:
        case Phase.SUCCEEDED:
            live = progress.of(State.LIVE)
            left = sorted({*absent(documents), *order.members} - set(live))
            noted = f"; not on {' '.join(left)}, which will get it later" if left else ""
            return f"{order.release} is live on {_members(len(live))}, {after}{noted}"
        case Phase.ROLLED_BACK:
            reason = f": {progress.reason}" if progress.reason and not order.abort else ""
            return f"{order.release} {why}: the fleet is on {back} again, {after}{reason}"
        case Phase.HALTED:
            live = progress.of(State.LIVE)
            where = " ".join(live) or "no member"
            return f"{order.release} {why}: halted with {order.release} on {where}, {after}: {progress.reason}"
        case _:
            return f"{order.release} {why}: nothing was deployed, {after}: {progress.reason}"


def _members(count: int) -> str:
    return "1 member" if count == 1 else f"{count} members"
