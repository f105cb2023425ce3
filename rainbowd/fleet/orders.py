"""The documents that deployers write: orders, pauses, aborts and locks.  Plain functions of a snapshot."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from rainbowd.errors import RainbowdError, UsageError
from rainbowd.fleet.decide import wanted
from rainbowd.fleet.documents import LOCK, ORDER
from rainbowd.fleet.models import LAST_ORDER, NAME, PAST_MAX, Lock, Order, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.fleet.documents import Documents

Waves = tuple[tuple[str, ...], ...]


class Refused(RainbowdError):
    """An order that cannot be given now; nothing was written."""


class UnderWay(Refused):
    """An order that has to wait for another one, or for a lock."""


@dataclass(frozen=True)
class Policy:
    """How a rollout goes.

    Attributes:
        waves: see ``plan_waves``.
        parallel: how many members deploy at once.
        bake: seconds between two waves.
        on_failure: what happens after a failure.
        max_failures: how many failed or lost members it tolerates.
        requires_all: whether an absent member refuses the order.
    """

    waves: str
    parallel: int
    bake: float
    on_failure: Literal["rollback", "halt"]
    max_failures: int
    requires_all: bool = False


@dataclass(frozen=True)
class Author:
    """Who writes, in their own words.

    Attributes:
        by: USER@HOST.
        note: their remark; None for none.
        at: when (RFC 3339).
    """

    by: str
    note: str | None
    at: str


def check_free(documents: Documents) -> None:
    """Check that an order can be given.

    Raises:
        UnderWay: another one is under way, or the fleet is locked.
    """
    order, lock = documents.order, documents.lock
    if lock is not None:
        raise UnderWay(f"the fleet is locked by {lock.by} since {clock(lock.at)}: {lock.note}")
    if order is not None and documents.is_under_way:
        raise UnderWay(
            f"rollout {order.id} of {order.release} by {order.by} is under way since {clock(order.at)}"
            f" ({progress_text(documents)})"
        )


def progress_text(documents: Documents) -> str:
    """Return the progress of the present order as text."""
    order, progress, phase = documents.order, documents.progress, documents.phase
    if order is None or progress is None or phase is None:
        return "not begun yet"
    if phase in {Phase.ROLLING, Phase.BAKING}:
        return f"{phase}, wave {progress.wave + 1} of {len(order.waves)}{', paused' if order.paused else ''}"
    return phase.replace("_", " ")


def new_order(documents: Documents, request: str, release: str | None, policy: Policy, author: Author) -> Order:
    """Return an order for all members that are present.

    Args:
        documents: the content of the engine.
        request: by which the command recognises its order.
        release: the name of the release; None deploys the fleet's present release again.
        policy: how the rollout goes.
        author: who orders.

    Raises:
        UnderWay: another order is under way, or the fleet is locked.
        Refused: no member is present, or one is absent although all are required.
        UsageError: the release is not a name, or there is none yet.
    """
    check_free(documents)
    previous = wanted(documents.order, documents.progress)
    name = release or previous
    if name is None:
        raise UsageError("the fleet has no release yet: name one")
    if re.fullmatch(NAME, name) is None:
        raise UsageError(f"found {name!r}; expected the name of a release: letters, digits and ._+-")
    return Order.build(
        id=_next_id(documents),
        request=request,
        release=name,
        previous=previous,
        past=past_releases(documents)[:PAST_MAX],
        by=author.by,
        note=author.note,
        at=author.at,
        waves=plan_waves(policy.waves, _members(documents, requires_all=policy.requires_all)),
        parallel=policy.parallel,
        bake=policy.bake,
        on_failure=policy.on_failure,
        max_failures=policy.max_failures,
    )


def _next_id(documents: Documents) -> int:
    last = 0 if documents.order is None else documents.order.id
    if last >= LAST_ORDER:
        raise Refused(f"cannot order: {last} is the highest number of an order; remove the fleet's keys from etcd")
    return last + 1


def rollback_order(documents: Documents, request: str, author: Author) -> Order:
    """Return an order for the release before, on all members at once.

    Args:
        documents: what the engine contains.
        request: by which the command recognises its order.
        author: who orders.

    Raises:
        Refused: there is no release before, and as ``new_order``.
    """
    check_free(documents)
    present = wanted(documents.order, documents.progress)
    before = present if documents.phase is Phase.HALTED else next(iter(past_releases(documents)), None)
    if before is None:
        raise Refused(f"cannot roll back: no order was for another release than {present}; deploy one by its name")
    members = _members(documents, requires_all=False)
    everywhere = Policy("100%", len(members), 0, "halt", len(members))
    order = new_order(documents, request, before, everywhere, author)
    return order.model_copy(update={"rollback": True})


def past_releases(documents: Documents) -> tuple[str, ...]:
    """Return the releases that the fleet has run before its present one, newest first.

    They come from the orders, which only deployers write, and not from the history, which every member can write: so no
    member can choose the release that a rollback deploys.
    """
    order, present = documents.order, wanted(documents.order, documents.progress)
    found = () if order is None else (order.previous, *order.past)
    return tuple(release for release in dict.fromkeys(found) if release not in {None, present})


def paused(documents: Documents, *, is_paused: bool) -> Order:
    """Return the present order with its ``paused`` set to ``is_paused``: whether no further turn begins.

    Raises:
        Refused: no order is under way.
    """
    return _under_way(documents, "pause" if is_paused else "resume").model_copy(update={"paused": is_paused})


def aborted(documents: Documents, author: Author, *, halts: bool) -> Order:
    """Return the present order, aborted.

    Args:
        documents: what the engine contains.
        author: who aborts.
        halts: whether the members that have the release keep it.

    Raises:
        Refused: no order is under way.
    """
    order = _under_way(documents, "abort")
    changes: dict[str, object] = {"abort": f"aborted by {author.by}", "paused": False}
    return order.model_copy(update=changes | ({"on_failure": "halt"} if halts else {}))


def lock(documents: Documents, author: Author) -> Lock:
    """Return the lock that refuses further orders.

    Raises:
        Refused: the fleet is locked already.
    """
    if documents.lock is not None:
        check_free(documents)
    return Lock.build(by=author.by, note=author.note or "", at=author.at)


def order_guards(documents: Documents) -> dict[str, int]:
    """Return the guards of a new order: no order since the snapshot, and no lock."""
    return {key: documents.snapshot.revision_of(key) for key in (ORDER, LOCK)}


def plan_waves(spec: str, members: Sequence[str]) -> Waves:
    """Return the members of each wave.

    Args:
        spec: parts separated by commas: how many members have the release after the wave, as a number or a
            percentage, or the names of members, separated by spaces; the rest is a last wave.
        members: in the order of their turns.

    Raises:
        UsageError: a part is invalid, or names no member.
    """
    waves: list[tuple[str, ...]] = []
    left = list(members)
    for part in (part.strip() for part in spec.split(",")):
        wave = _wave(part, left, len(members))
        left = [name for name in left if name not in wave]
        if wave:
            waves.append(wave)
    return (*waves, tuple(left)) if left else tuple(waves)


def _wave(part: str, left: Sequence[str], total: int) -> tuple[str, ...]:
    if part.removesuffix("%").isdecimal():
        number = int(part.removesuffix("%"))
        count = math.ceil(total * number / 100) if part.endswith("%") else number
        return tuple(left[: max(0, count - (total - len(left)))])
    names = part.split()
    unknown = [name for name in names if name not in left]
    if unknown or not names:
        raise UsageError(f"--waves: found {part!r}; expected a number, a percentage or names of {', '.join(left)}")
    return tuple(name for name in left if name in names)


def _members(documents: Documents, *, requires_all: bool) -> list[str]:
    """Return the members that are present, in the order of their turns."""
    gone = absent(documents)
    if requires_all and gone:
        raise Refused(f"not all members are present: {', '.join(gone)}")
    ranks = {name: document.rank for name, document in documents.members.items()}
    found = sorted(documents.present, key=lambda name: (ranks.get(name, 0), name))
    if not found:
        raise Refused("no member of the fleet is present")
    return found


def absent(documents: Documents) -> list[str]:
    """Return the known members that are not present, sorted."""
    return sorted(set(documents.members) - set(documents.present))


def _under_way(documents: Documents, verb: str) -> Order:
    if documents.order is None or not documents.is_under_way:
        raise Refused(f"cannot {verb}: no rollout is under way")
    return documents.order


def clock(at: str) -> str:
    """Return a time of the documents as people read it, in local time; today without the date."""
    try:
        local = datetime.fromisoformat(at).astimezone()
    except ValueError:
        return at
    is_today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")
