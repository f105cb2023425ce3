"""The report of a member on itself and its fleet: the status's ``fleet``, and events in the journal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rainbowd.fleet.decide import wanted
from rainbowd.fleet.models import State
from rainbowd.fleet.summary import summarise
from rainbowd.log import get_logger
from rainbowd.timestamp import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rainbowd.fleet.documents import Documents
    from rainbowd.fleet.models import Order, Progress
    from rainbowd.fleet.view import Local

CONNECTING, UP, AWAY, ASIDE = "connecting", "up", "away", "aside"

log = get_logger()


class Report:
    """The account of one member.

    Args:
        fleet: the name of the fleet.
        member: the name of the member.
        record: writes an event to the journal.
        on_change: called when the status has changed.
    """

    def __init__(self, fleet: str, member: str, record: Callable[..., None], on_change: Callable[[], None]) -> None:
        self._fleet = fleet
        self._member = member
        self._record = record
        self._on_change = on_change
        self._engine: dict[str, str | None] = {"state": CONNECTING, "since": self.now(), "reason": None}
        self._has_joined = False
        self._shown: Mapping[str, object] = {}

    @staticmethod
    def now() -> str:
        """Return the present time, as in the journal."""
        return timestamp(datetime.now(UTC))

    def status(self) -> dict[str, object]:
        """Return the status's ``fleet``; if the engine does not answer, with its last answer."""
        return {"name": self._fleet, "member": self._member, "engine": dict(self._engine), **self._shown}

    # --- the engine -------------------------------------------------------------------------------------------------

    def engine_away(self, reason: str) -> None:
        """Report that the engine does not answer, or refuses, with the ``reason``; once, until it answers again."""
        if self._change_engine(AWAY, reason):
            log.warning("the fleet's engine is away", reason=reason, hint="local deploys continue to work")
            self._record("fleet.engine_away", reason=reason)

    def stands_aside(self, reason: str) -> None:
        """Report that the engine answers, and the ``reason`` for which this member must do nothing."""
        if self._change_engine(ASIDE, reason):
            log.error("this member stands aside", reason=reason)

    def engine_back(self) -> None:
        """Report that the engine answers, and that this member takes part."""
        was = self._engine["state"]
        if not self._change_engine(UP, None):
            return
        if not self._has_joined:
            self._has_joined = True
            log.info("joined the fleet", fleet=self._fleet, member=self._member)
            self._record("fleet.joined", fleet=self._fleet, member=self._member)
        elif was == AWAY:
            log.info("the fleet's engine is back")
            self._record("fleet.engine_back")

    def _change_engine(self, state: str, reason: str | None) -> bool:
        """Note the state of the engine; return whether it has changed."""
        if (self._engine["state"], self._engine["reason"]) == (state, reason):
            return False
        is_new = self._engine["state"] != state
        self._engine = {"state": state, "since": self.now() if is_new else self._engine["since"], "reason": reason}
        self._on_change()
        return is_new

    # --- the fleet --------------------------------------------------------------------------------------------------

    def show(self, documents: Documents, local: Local) -> None:
        """Report what the engine contains now."""
        shown = {**summarise(documents), "by_hand": local.release if local.is_by_hand else None}
        if shown != self._shown:
            self._shown = shown
            self._on_change()

    def written(self, order: Order, progress: Progress, before: Progress | None) -> None:
        """Record what this member has written about itself.

        Args:
            order: the present order.
            progress: the new document.
            before: the document before it.
        """
        turn = progress.members.get(self._member)
        old = before.members.get(self._member) if before is not None and before.order == progress.order else None
        if turn is None or turn == old:
            return
        wave = progress.wave + 1
        if turn.state.has_turn:
            self._record(
                "fleet.turn",
                release=order.release,
                rollout=order.id,
                wave=wave,
                state=turn.state,
                request=turn.deploy,
            )
        elif progress.phase.is_at_rest and turn.state in {State.LIVE, State.REVERTED}:
            self._record("fleet.converged", release=wanted(order, progress), rollout=order.id)
        elif turn.state is not State.PREPARED:
            self._record(
                "fleet.reported",
                release=order.release,
                rollout=order.id,
                wave=wave,
                state=turn.state,
                request=turn.deploy,
                reason=turn.reason,
            )
