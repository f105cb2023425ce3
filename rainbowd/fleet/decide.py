"""The next step of a member: a pure function of one snapshot and of the member's own clock.

Every write replaces the whole ``progress`` document, and is carried out only if neither ``order`` nor ``progress`` has
changed since the snapshot.  So it does not matter how old a view is, or how many members decide the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.fleet.models import Order, Phase, Progress, State, Turn
from rainbowd.fleet.view import Decision, Deploy, Prepare, View, Wait, Write, bake_timer

if TYPE_CHECKING:
    from rainbowd.fleet.local_record import OwnDeploy


def wanted(order: Order | None, progress: Progress | None) -> str | None:
    """Return the release that the fleet should run; None if there is none yet, or if the rollout was halted."""
    if order is None:
        return None
    is_current = progress is not None and progress.order == order.id
    if is_current and progress is not None and progress.phase is Phase.SUCCEEDED:
        return order.release
    return order.previous


def decide(view: View) -> Decision:
    """Return what the member of ``view`` does next."""
    order, progress = view.order, view.progress
    if order is None:
        return Wait()
    if progress is None or progress.order != order.id:
        return _begin(view, order, progress)
    return (
        _own_turn(view, order, progress)
        or _absent_in_turn(view, order, progress)
        or _stop(view, order, progress)
        or _advance(view, order, progress)
    )


def _advance(view: View, order: Order, progress: Progress) -> Decision:
    """Take the next step of the present phase."""
    match progress.phase:
        case Phase.PREPARING:
            return _prepare(view, order, progress)
        case Phase.ROLLING:
            return _roll(view, order, progress)
        case Phase.BAKING:
            return _bake(view, order, progress)
        case Phase.ROLLING_BACK:
            return _roll_back(view, order, progress)
        case Phase.HALTED:
            return Wait()
        case _:
            return _rest(view, order, progress)


# --- before a rollout, and turns -------------------------------------------------------------------------------------


def _begin(view: View, order: Order, old: Progress | None) -> Decision:
    """Begin a rollout once no member deploys for the previous order."""
    if old is not None and old.busy:
        return _own_turn(view, order, old) or _absent_in_turn(view, order, old) or Wait()
    return Write(Progress(order=order.id, phase=Phase.PREPARING), f"rollout {order.id} of {order.release} begins")


def _own_turn(view: View, order: Order, progress: Progress) -> Decision | None:
    """Deploy if this member has a turn, and report how it ended; None if it has no turn."""
    turn, attempt = progress.members.get(view.me), view.local.record.attempt
    if turn is None or not turn.state.has_turn or turn.deploy is None:
        return None
    if attempt is not None and attempt.request == turn.deploy:
        if attempt.is_done:
            return _report(view, progress, turn, attempt)
        return Deploy(attempt.release, turn.deploy, attempt.order, attempt.is_revert, turn.first)
    release = _target(view, order, progress, turn)
    if release is None:
        state = State.REVERTED if turn.state is State.REVERTING else State.PREPARED
        return Write(_with(progress, view.me, Turn(state=state)), f"{view.me} gives its turn back")
    is_revert = turn.state is State.REVERTING or progress.phase in {Phase.ROLLED_BACK, Phase.FAILED}
    return Deploy(release, turn.deploy, order.id, is_revert, turn.first)


def _report(view: View, progress: Progress, turn: Turn, attempt: OwnDeploy) -> Write:
    if attempt.failure is not None:
        failed = Turn(state=State.FAILED, reason=attempt.failure, deploy=turn.deploy)
        return Write(_with(progress, view.me, failed), f"{view.me} failed: {attempt.failure}")
    is_back = turn.state is State.REVERTING or progress.phase in {Phase.ROLLED_BACK, Phase.FAILED}
    state = State.REVERTED if is_back else State.LIVE
    return Write(_with(progress, view.me, Turn(state=state, deploy=turn.deploy)), f"{view.me} is {state}")


def _target(view: View, order: Order, progress: Progress, turn: Turn) -> str | None:
    """Return the release that this member's turn deploys; None if the turn is outdated, or has nothing to undo."""
    if progress.order != order.id:
        return None
    if turn.state is State.REVERTING:
        return view.local.record.before if _undoes(view, order, progress) else None
    if progress.phase is Phase.ROLLING_BACK:
        return None
    if progress.phase in {Phase.ROLLED_BACK, Phase.FAILED}:
        return view.local.record.before if _undoes(view, order, progress) else order.previous
    return order.release


def _undoes(view: View, order: Order, progress: Progress) -> bool:
    """Return whether this machine must undo an order that was rolled back."""
    local, is_back = view.local, progress.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}
    record = local.record
    is_own = progress.order == order.id and record.has_flipped(order)
    return is_back and is_own and record.before not in {None, local.release}


def _absent_in_turn(view: View, order: Order, progress: Progress) -> Write | None:
    """Count a member as lost if it is absent for too long in its turn or its bake; None if there is none."""
    for name in [*progress.busy, *_baking_members(order, progress)]:
        if name not in view.present and view.elapsed.get(("absent", name), 0) >= view.grace:
            reason = f"absent for {view.grace:g} s"
            turn = progress.members[name]
            lost = Turn(state=State.LOST, reason=reason, deploy=turn.deploy, has_release=turn.must_go_back)
            return Write(_with(progress, name, lost), f"{name} is lost: {reason}")
    return None


def _baking_members(order: Order, progress: Progress) -> list[str]:
    """Return the members whose release bakes now; none in other phases."""
    if progress.order != order.id or progress.phase is not Phase.BAKING:
        return []
    return [name for name in order.waves[progress.wave] if name in progress.of(State.LIVE)]


# --- failures ---------------------------------------------------------------------------------------------------------


def _stop(view: View, order: Order, progress: Progress) -> Decision | None:
    """End a rollout that has failed, or that was aborted; None if it continues."""
    if progress.phase is Phase.PREPARING:
        reason = order.abort or _failures(progress)
        return None if reason is None else _end(progress, Phase.FAILED, reason)
    if progress.phase not in {Phase.ROLLING, Phase.BAKING}:
        return None
    if view.local.trouble is not None and progress.of(State.LIVE).count(view.me):
        request = progress.members[view.me].deploy
        failed = Turn(state=State.FAILED, reason=view.local.trouble, deploy=request, has_release=True)
        return Write(_with(progress, view.me, failed), f"{view.me} failed: {view.local.trouble}")
    reason = order.abort or (_failures(progress) if len(progress.bad) > order.max_failures else None)
    if reason is None:
        return None
    if order.on_failure == "rollback":
        back = progress.model_copy(update={"phase": Phase.ROLLING_BACK, "reason": reason})
        return Write(back, f"rolling back: {reason}")
    return Wait() if progress.busy else _end(progress, Phase.HALTED, reason)


def _failures(progress: Progress) -> str | None:
    """Return the members that failed, with their reasons; None if none did."""
    found = (f"{name}: {progress.members[name].reason or progress.members[name].state}" for name in progress.bad)
    return "; ".join(found)[:2000] or None


def _end(progress: Progress, phase: Phase, reason: str | None = None) -> Write:
    ended = progress.model_copy(update={"phase": phase, "reason": reason})
    return Write(ended, f"{phase}: {reason}" if reason else str(phase))


# --- the phases -------------------------------------------------------------------------------------------------------


def _prepare(view: View, order: Order, progress: Progress) -> Decision:
    """Provide the release on every present member, before anything is deployed."""
    if view.me in order.members and view.me not in progress.members:
        if view.local.prepared != order.request:
            return Prepare(order.release)
        reason = view.local.unprepared
        turn = Turn(state=State.PREPARED) if reason is None else Turn(state=State.FAILED, reason=reason)
        return Write(_with(progress, view.me, turn), f"{view.me} {turn.state}")
    if any(name in view.present and name not in progress.members for name in order.members):
        return Wait()
    return Write(progress.model_copy(update={"phase": Phase.ROLLING}), "wave 1 begins")


def _roll(view: View, order: Order, progress: Progress) -> Decision:
    """Take a turn in the present wave; when all have had theirs, let the wave bake."""
    wave = order.waves[progress.wave] if progress.wave < len(order.waves) else ()
    due = [name for name in wave if name not in progress.members or progress.members[name].state is State.PREPARED]
    present = [name for name in due if name in view.present]
    if view.me in present[: max(0, order.parallel - len(progress.busy))] and not order.paused:
        claimed = Turn(state=State.CLAIMED, deploy=view.new_request, first=_is_first(order, progress))
        return Write(_with(progress, view.me, claimed), f"{view.me} takes its turn in wave {progress.wave + 1}")
    if progress.busy or present:
        return Wait()
    if any(view.elapsed.get(("absent", name), 0) < view.grace for name in due):
        return Wait()
    if not set(wave) & set(progress.of(State.LIVE)):
        return _end(progress, Phase.HALTED, f"wave {progress.wave + 1} reached no member")
    return Write(progress.model_copy(update={"phase": Phase.BAKING}), f"wave {progress.wave + 1} is live")


def _is_first(order: Order, progress: Progress) -> bool:
    """Return whether no member has launched the release yet."""
    is_new = not order.rollback and order.release != order.previous
    return is_new and all(turn.state is State.PREPARED for turn in progress.members.values())


def _bake(view: View, order: Order, progress: Progress) -> Decision:
    """Wait for the bake of the present wave, then begin the next or succeed."""
    is_over = view.elapsed.get(bake_timer(progress), 0) >= order.bake
    if not is_over or not view.present.issuperset(_baking_members(order, progress)):
        return Wait()
    if progress.wave + 1 >= len(order.waves):
        return _end(progress, Phase.SUCCEEDED)
    if order.paused:
        return Wait()
    following = progress.model_copy(update={"phase": Phase.ROLLING, "wave": progress.wave + 1})
    return Write(following, f"wave {following.wave + 1} begins")


def _roll_back(view: View, order: Order, progress: Progress) -> Decision:
    """Go back on every member that is present, all at once."""
    turn = progress.members.get(view.me)
    if turn is not None and _undoes(view, order, progress) and not _has_failed_to_revert(view, turn):
        reverting = Turn(state=State.REVERTING, deploy=view.new_request)
        return Write(_with(progress, view.me, reverting), f"{view.me} goes back to {view.local.record.before}")
    if turn is not None and turn.must_go_back:
        stays = Turn(state=State.REVERTED, reason="there is nothing to go back to")
        return Write(_with(progress, view.me, stays), f"{view.me} has nothing to go back to")
    if progress.busy or any(turn.must_go_back and name in view.present for name, turn in progress.members.items()):
        return Wait()
    return _end(progress, Phase.ROLLED_BACK, progress.reason)


def _has_failed_to_revert(view: View, turn: Turn) -> bool:
    attempt = view.local.record.attempt
    return attempt is not None and attempt.request == turn.deploy and attempt.is_revert and attempt.is_done


def _rest(view: View, order: Order, progress: Progress) -> Decision:
    """Take a turn to deploy the fleet's release if this machine was down, is new, or was cut off."""
    local, release = view.local, wanted(order, progress)
    differs = _undoes(view, order, progress) or release not in {None, local.release}
    if not differs or local.is_by_hand or not local.may_converge or len(progress.busy) >= order.parallel:
        return Wait()
    claimed = Turn(state=State.CLAIMED, deploy=view.new_request)
    return Write(_with(progress, view.me, claimed), f"{view.me} comes to the release of the fleet")


def _with(progress: Progress, name: str, turn: Turn) -> Progress:
    """Return ``progress`` in which ``turn`` is the turn of the member ``name``."""
    return progress.model_copy(update={"members": {**progress.members, name: turn}})
