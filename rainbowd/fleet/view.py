"""A member's view of its fleet, and the decisions that it can make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rainbowd.fleet.local_record import Record
from rainbowd.fleet.models import Order, Phase, Progress, State

if TYPE_CHECKING:
    from collections.abc import Mapping

Timer = tuple[str, ...]
"""A condition whose duration a member measures: ``("absent", MEMBER)`` or ``("bake", ORDER, WAVE)``."""


@dataclass(frozen=True)
class Local:
    """The state that only this machine knows.

    Attributes:
        record: of its own deploys for the fleet.
        release: the live release, or the linked one if nothing is live; None if there is neither.
        is_by_hand: whether someone has changed the link since the fleet did.
        prepared: the ``request`` of the last order whose release it tried to provide; None if it has tried none.
        unprepared: why that failed; None if it did not.
        trouble: what is wrong with the live release; None if nothing is.
        may_converge: whether the delay after the last failure is over.
    """

    record: Record = field(default_factory=Record)
    release: str | None = None
    is_by_hand: bool = False
    prepared: str | None = None
    unprepared: str | None = None
    trouble: str | None = None
    may_converge: bool = True


@dataclass(frozen=True)
class View:
    """One member's snapshot of the fleet.

    Attributes:
        me: the member.
        order, progress: the documents; None if there are none.
        present: the members that are present.
        local: what only this machine knows.
        grace: seconds after which an absent member is skipped or lost.
        elapsed: seconds since this member first saw each timer's condition, by its own monotonic clock.
        new_request: an id for a turn that begins now.
    """

    me: str
    order: Order | None
    progress: Progress | None
    present: frozenset[str]
    local: Local = Local()
    grace: float = 60
    elapsed: Mapping[Timer, float] = field(default_factory=dict)
    new_request: str = "new"


@dataclass(frozen=True)
class Write:
    """A new ``progress``, to be written if nothing has changed.

    Attributes:
        progress: the document.
        why: the reason, for the log.
    """

    progress: Progress
    why: str


@dataclass(frozen=True)
class Prepare:
    """Provide the release of the order, on this machine."""

    release: str


@dataclass(frozen=True)
class Deploy:
    """Deploy a release on this machine.

    Attributes:
        release: its name.
        request: the id of the turn.
        order: the order that has given the turn.
        is_revert: whether it goes back from the release of that order.
        is_first: whether no member had launched the release when the turn began.
    """

    release: str
    request: str
    order: int
    is_revert: bool = False
    is_first: bool = False


@dataclass(frozen=True)
class Wait:
    """Nothing to do until something changes, or until ``next_timer_seconds``."""


Decision = Write | Prepare | Deploy | Wait


def place(view: View) -> int:
    """Return how many other members act before this one, so that not all of them write the same document at once.

    This only lowers the number of writes that collide. Each write is guarded, and if the first member in the line does
    not write, the next one does so a moment later.
    """
    order, progress = view.order, view.progress
    if order is None or progress is None or progress.order != order.id:
        return _index(view.me, sorted(view.present))
    turn = progress.members.get(view.me)
    if turn is not None and turn.state.has_turn:
        return 0
    return _index(view.me, _line(view, order, progress))


def _line(view: View, order: Order, progress: Progress) -> list[str]:
    """Return the members that are present, in the order in which they act next."""
    members = [name for name in order.members if name in view.present]
    turns = progress.members
    match progress.phase:
        case Phase.PREPARING:
            due = [name for name in members if name not in turns]
        case Phase.ROLLING:
            due = [name for name in members if name not in turns or turns[name].state is State.PREPARED]
        case Phase.ROLLING_BACK:
            due = [name for name in members if name in turns and turns[name].must_go_back]
        case _:
            due = []
    return list(dict.fromkeys([*due, *members, *sorted(view.present)]))


def _index(name: str, line: list[str]) -> int:
    return line.index(name) if name in line else len(line)


def timers(view: View) -> set[Timer]:
    """Return the conditions whose duration this member must measure."""
    known = set(view.order.members if view.order else ()) | set(view.progress.members if view.progress else ())
    found: set[Timer] = {("absent", name) for name in known - view.present}
    if view.progress is not None and view.progress.phase is Phase.BAKING:
        found.add(bake_timer(view.progress))
    return found


def next_timer_seconds(view: View) -> float | None:
    """Return after how many seconds a timer could change the decision; None if no timer runs."""
    limits = {timer: _limit_seconds(view, timer) - view.elapsed.get(timer, 0) for timer in timers(view)}
    return min((remaining for remaining in limits.values() if remaining > 0), default=None)


def bake_timer(progress: Progress) -> Timer:
    """Return the timer of the bake that ``progress`` is in."""
    return ("bake", str(progress.order), str(progress.wave))


def _limit_seconds(view: View, timer: Timer) -> float:
    return view.order.bake if timer[0] == "bake" and view.order is not None else view.grace
