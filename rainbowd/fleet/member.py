"""A member of the fleet: one loop that keeps it present, reads the engine, decides, and carries out.

The loop itself renews the presence, so a member whose loop hangs becomes absent.  Deploys run as tasks that the loop
does not wait for.  A watch only wakes the loop earlier: it can stay silent, so the loop also reads at intervals.
"""

from __future__ import annotations

import contextlib
import random
import secrets
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.fleet import documents as keys
from rainbowd.fleet.decide import decide
from rainbowd.fleet.deploy_worker import Work
from rainbowd.fleet.engine import ABSENT, EngineError, EngineRefused
from rainbowd.fleet.local_state import release_name, trouble
from rainbowd.fleet.models import Member as MemberDocument
from rainbowd.fleet.models import Phase, Presence, UnreadableDocument
from rainbowd.fleet.report import Report
from rainbowd.fleet.view import Deploy, Local, Prepare, Timer, View, Write, next_timer_seconds, place, timers
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from rainbowd.config import FleetSettings
    from rainbowd.fleet.documents import Documents
    from rainbowd.fleet.engine import Engine
    from rainbowd.fleet.local_deploys import LocalDeploys

LOOK_SECONDS = 10.0
"""How often the engine is read although no watch reports a change."""

LEAVE_SECONDS = 2.0
RETRY_SECONDS = 1.0
REFUSED_SECONDS = 5.0
CONFLICT_SECONDS = 0.05

PLACE_SECONDS = 0.03
"""How long a member waits for each member that acts before it: about the time of a write."""

PLACE_SECONDS_MAX = 0.6

log = get_logger()


class Member:
    """This machine's part in its fleet.

    Args:
        settings: of the fleet.
        connect: opens the engine.
        machine: deploys.
        state_dir: holds the record.
        machine_id: identifies this machine, so that two with one name are noticed.
        on_change: called when the status has changed.

    Attributes:
        name: of this member.
        report: what this member shows of itself and of the fleet.
        is_leaving: whether the agent stops for good, so that the member is absent as soon as ``run`` is cancelled.
    """

    def __init__(
        self,
        settings: FleetSettings,
        connect: Callable[[], AbstractAsyncContextManager[Engine]],
        machine: LocalDeploys,
        state_dir: Path,
        *,
        machine_id: str,
        on_change: Callable[[], None],
    ) -> None:
        self.name = settings.member_name
        self.report = Report(settings.name, self.name, machine.record, on_change)
        self._settings = settings
        self._connect = connect
        self._machine = machine
        self.is_leaving = False
        self._presence = Presence(machine=machine_id, version=__version__)
        self._present_key = f"{keys.PRESENT}{self.name}"
        self._wake = trio.Event()
        self._work = Work(machine, state_dir, settings.releases, self._wake_up)
        self._seen: dict[Timer, float] = {}
        self._looked_at = -LOOK_SECONDS
        self._renew_at = 0.0
        self._place_seconds = 0.0

    async def run(self) -> None:
        """Be a member until cancelled; nothing that the engine does ends this."""
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    async with self._connect() as engine, trio.open_nursery() as connected:
                        self._renew_at = 0.0
                        connected.start_soon(self._watch, engine)
                        try:
                            await self._follow(engine, nursery)
                        finally:
                            if self.is_leaving:
                                await self._leave(engine)
                except* EngineRefused as group:
                    self.report.engine_away(str(group.exceptions[0]))
                await trio.sleep(REFUSED_SECONDS)

    def store_again(self) -> None:
        """Write this machine's own record once more, because the state directory was removed.

        Raises:
            OSError: it cannot be written.
        """
        self._work.store_again()

    def _wake_up(self) -> None:
        self._wake.set()

    def _on_change(self, changed: Sequence[str]) -> None:
        """Wake the loop after a change, unless only documents of other members have changed: they decide nothing."""
        own = f"{keys.MEMBERS}{self.name}"
        if any(key == own or not key.startswith(keys.MEMBERS) for key in changed):
            self._wake_up()

    async def _watch(self, engine: Engine) -> None:
        """Wake the loop after each change; whenever a watch ends, wake it once and watch again."""
        while True:
            try:
                snapshot = await engine.snapshot()
                self._wake_up()
                await engine.wake(snapshot.revision, self._on_change)
            except EngineError:
                await trio.sleep(RETRY_SECONDS)

    async def _follow(self, engine: Engine, nursery: trio.Nursery) -> None:
        """Take one step after another.

        Raises:
            EngineRefused: the engine refuses this member.
        """
        while True:
            self._wake = trio.Event()
            try:
                delay = await self._step(engine, nursery)
            except EngineRefused:
                raise
            except EngineError as error:
                self.report.engine_away(str(error))
                delay = RETRY_SECONDS
            except UnreadableDocument as error:
                self.report.stands_aside(f"{error}; upgrade this machine")
                delay = LOOK_SECONDS
            with trio.move_on_after(delay):
                await self._wake.wait()
                await trio.sleep(self._place_seconds)  # so several changes in a row are read at once

    async def _step(self, engine: Engine, nursery: trio.Nursery) -> float:
        """Read the fleet, and take the next step; return the seconds until the next step at the latest."""
        documents = keys.parse(await engine.snapshot())
        if not self._has_name(documents):
            self.report.stands_aside(f"another machine is the member {self.name}; set fleet.member")
            return LOOK_SECONDS
        if not await self._renew(engine, documents):
            return CONFLICT_SECONDS
        self.report.engine_back()
        await self._join(engine, documents)
        view = self._view(documents)
        self._place_seconds = min(PLACE_SECONDS_MAX, PLACE_SECONDS * place(view))
        self.report.show(documents, view.local)
        await self._report_itself(engine, documents, view.local)
        if await self._carry_out(engine, documents, view, nursery):
            return 0.0
        delays = [LOOK_SECONDS, self._settings.ttl / 3, next_timer_seconds(view)]
        return min(delay for delay in delays if delay is not None)

    # --- presence and the member's own document ---------------------------------------------------------------------

    def _has_name(self, documents: Documents) -> bool:
        """Return whether no other machine is present under this member's name."""
        other = documents.present.get(self.name)
        return other is None or other.machine == self._presence.machine

    async def _renew(self, engine: Engine, documents: Documents) -> bool:
        """Renew the presence if it is due; return whether this member is present."""
        revision, now = documents.snapshot.revision_of(self._present_key), trio.current_time()
        if now < self._renew_at and revision != ABSENT:
            return True
        self._renew_at = now + self._settings.ttl / 3
        return await engine.presence(self._present_key, self._presence.encode(), revision)

    async def _leave(self, engine: Engine) -> None:
        """Be absent at once, if the agent stops for good and the engine answers soon."""
        with contextlib.suppress(EngineError), trio.move_on_after(LEAVE_SECONDS, shield=True):
            revision = (await engine.snapshot()).revision_of(self._present_key)
            await engine.commit({self._present_key: revision}, {self._present_key: None})

    async def _join(self, engine: Engine, documents: Documents) -> None:
        """Follow the fleet again in place of a link that was changed by hand, if a deployer requests that."""
        shown = documents.members.get(self.name)
        if shown is not None and shown.join:
            standing = self._machine.standing()
            await self._work.join(release_name(standing.linked, self._work.directory))
            key = f"{keys.MEMBERS}{self.name}"
            joined = shown.model_copy(update={"join": False, "by_hand": None})
            await engine.commit({key: documents.snapshot.revision_of(key)}, {key: joined.encode()})

    async def _report_itself(self, engine: Engine, documents: Documents, local: Local) -> None:
        """Write this member's own document if it has changed, never by the clock."""
        key = f"{keys.MEMBERS}{self.name}"
        shown = documents.members.get(self.name)
        attempt = local.record.attempt
        now = MemberDocument(
            rank=self._settings.rank,
            release=local.release,
            by_hand=local.release if local.is_by_hand else None,
            since=shown.since if shown is not None else "",
            output=attempt.output if attempt is not None and attempt.failure is not None else (),
        )
        if shown is not None and not shown.join and shown == now:
            return
        changed = now.model_copy(update={"since": self.report.now()})
        await engine.commit({key: documents.snapshot.revision_of(key)}, {key: changed.encode()})

    # --- decisions --------------------------------------------------------------------------------------------------

    def _view(self, documents: Documents) -> View:
        """Return this member's view, with its timers: a gap in what it saw starts all of them again."""
        now = trio.current_time()
        is_gap = now - self._looked_at > max(self._settings.ttl, LOOK_SECONDS) + RETRY_SECONDS
        view = View(
            me=self.name,
            order=documents.order,
            progress=documents.progress,
            present=frozenset(documents.present),
            local=self._local(documents),
            grace=self._settings.grace,
            new_request=f"{self.name[:40]}-{secrets.token_hex(6)}",
        )
        self._seen = {timer: now if is_gap else self._seen.get(timer, now) for timer in timers(view)}
        self._looked_at = now
        elapsed = {timer: now - since for timer, since in self._seen.items()}
        return View(**{**vars(view), "elapsed": elapsed})

    def _local(self, documents: Documents) -> Local:
        standing, work = self._machine.standing(), self._work
        is_watched = documents.phase in {Phase.ROLLING, Phase.BAKING} and documents.order is not None
        is_new = is_watched and documents.order is not None and work.record.has_flipped(documents.order)
        linked = release_name(standing.linked, work.directory)
        return Local(
            record=work.record,
            release=release_name(standing.live, work.directory) or linked,
            is_by_hand=work.record.is_by_hand(linked),
            prepared=work.prepared,
            unprepared=work.unprepared,
            trouble=trouble(standing, self._settings.max_error_rate) if is_new else None,
            may_converge=work.may_converge,
        )

    async def _carry_out(self, engine: Engine, documents: Documents, view: View, nursery: trio.Nursery) -> bool:
        """Carry out the next decision; return whether the documents have changed."""
        decision, order = decide(view), documents.order
        if order is None:
            return False
        match decision:
            case Write(progress, why):
                with trio.move_on_after(self._place_seconds):
                    await self._wake.wait()
                    return True
                puts = keys.progress_puts(documents, order, progress)
                if await engine.commit(documents.guards, puts):
                    log.info("fleet", rollout=order.id, decision=why)
                    self.report.written(order, progress, before=documents.progress)
                else:
                    await trio.sleep(random.uniform(0, CONFLICT_SECONDS))  # noqa: S311 - only to spread them
                return True
            case Prepare():
                self._work.prepare(order, nursery)
            case Deploy():
                wave = documents.progress.wave + 1 if documents.progress is not None else 1
                self._work.deploy(decision, order, wave, nursery)
        return False
