"""Deploys that are asked for by a call, not by a file: the release link is turned for them, and back where they fail.

Such a turn is seen by the watching like any other, and is there known as ours: so a deploy by a call is the same deploy
as one by the files, merged alike, and nothing is deployed twice.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import trio

from rainbowd import release_link
from rainbowd.deploy.watch.file_state import escaped
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.errors import Declined, RainbowdError, UsageError
from rainbowd.log import get_logger
from rainbowd.release_choice import find_sibling, rollback_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.deploys.supervisor import Supervisor
    from rainbowd.deploy.verdicts import Deploy, Outcome
    from rainbowd.roster import Roster

NOTICE_SECONDS = 3.0
"""How long a turn may go unnoticed: files are compared twice a second, whatever events are lost."""

_LOOK_SECONDS = 0.02

BAD_REQUEST, CONFLICT, INTERNAL_ERROR, UNAVAILABLE = 400, 409, 500, 503

T = TypeVar("T")

log = get_logger()


@dataclass(frozen=True)
class RequestedDeploy:
    """A deploy that a call has asked for.

    Attributes:
        decided: set when it is, and the link is turned back if it is to be.
    """

    deploy: Deploy
    decided: trio.Event

    @property
    def id(self) -> str:
        """By which the journal is read."""
        return self.deploy.id

    @property
    def outcome(self) -> Outcome | None:
        """None before it is decided."""
        return self.deploy.outcome


@dataclass(eq=False)
class _Turn:
    """One turn of the link that is asked for.

    Attributes:
        deploy: which it became; None where it became none.
        refusal: why it was not made.
        answered: set when it is one or the other.
        settled: set when the deploy is decided, and the link is turned back if it is to be.
    """

    release: Path
    trigger: Trigger
    deploy: Deploy | None = None
    refusal: Declined | None = None
    answered: trio.Event = field(default_factory=trio.Event)
    settled: trio.Event = field(default_factory=trio.Event)


class ApiDeploys:
    """Takes calls, one turn of the link after the other.

    Args:
        release: the link, or the plain directory.
        base: which relative paths of releases are relative to.
        state_dir: with the journal.
    """

    def __init__(self, supervisor: Supervisor, roster: Roster, release: Path, *, base: Path, state_dir: Path) -> None:
        self._supervisor = supervisor
        self._roster = roster
        self._release = release
        self._base = base
        self._state_dir = state_dir
        self._expected: _Turn | None = None
        self._under_way = 0
        self._ordered, self._orders = trio.open_memory_channel[_Turn](math.inf)

    @property
    def are_quiet(self) -> bool:
        """No turn of the link is under way, nor may still be turned back."""
        return self._under_way == 0

    # --- what is asked --------------------------------------------------------------------------------------------

    async def redeploy(self, release: str | None, note: str | None) -> RequestedDeploy:
        """Deploy what the files name, or turn the link to another release first.

        Args:
            release: the bare name of a sibling of the present release, or its path relative to ``base``; None for what
                the files name.
            note: the deployer's own words.

        Raises:
            Declined: that cannot be, and nothing was done.
        """
        await self._supervisor.ownership.until_complete()  # else it may come to nothing, with all that we have begun
        trigger = Trigger(kind="api", note=escaped(note) if note else None)
        if release is None:
            deploy = self._ask(trigger)
            return RequestedDeploy(deploy, deploy.decided)
        return await self._order(await _decide(self._find_sibling, release), trigger)

    async def rollback(self, note: str | None) -> RequestedDeploy:
        """Turn the link back to the live release, or where it names that to the one that was live before.

        Raises:
            Declined: there is none, or it cannot be.
        """
        await self._supervisor.ownership.until_complete()
        trigger = Trigger(kind="api", note=escaped(note) if note else None, is_rollback=True)
        return await self._order(await _decide(self._rollback_target), trigger)

    def report(self, trigger: Trigger) -> None:
        """Take a trigger that the files gave; one that is the turn we made goes on as the call it was made for."""
        turn = self._expected
        if turn is None or trigger.kind != "symlink" or self._linked() != turn.release:
            self._supervisor.request(trigger)
            return
        self._expected = None
        turn.deploy = self._supervisor.request(turn.trigger)
        turn.answered.set()

    async def run(self) -> None:
        """Turn the link as asked until cancelled; a task for each deploy turns it back should that fail."""
        async with trio.open_nursery() as nursery:
            async for turn in self._orders:
                try:
                    turned = await self._make(turn)
                    self._under_way += 1
                    nursery.start_soon(self._follow, turn, turned)
                except Declined as refusal:
                    turn.refusal = refusal
                except Exception as bug:
                    log.error("bug: a call broke", exc_info=bug)
                    turn.refusal = Declined("the agent failed; its log says more", INTERNAL_ERROR)
                finally:
                    self._under_way -= 1
                    self._expected = None
                    turn.answered.set()

    # --- which release it means: these read the disk, so they run in a thread ----------------------------------------

    def _linked(self) -> Path:
        """Return the release that the link points to, whether it exists or not."""
        return self._release.resolve()

    def _live(self) -> Path | None:
        """Return the live release; None if nothing is live."""
        live = self._roster.live
        return None if live is None else live.release

    def _find_sibling(self, name: str) -> Path:
        release_link.require_symlink(self._release)
        try:
            return find_sibling(name, self._base, self._live() or self._linked())
        except UsageError as error:
            raise Declined(str(error), BAD_REQUEST) from None

    def _rollback_target(self) -> Path:
        release_link.require_symlink(self._release)
        return rollback_target(self._live(), self._linked(), self._state_dir)

    # --- what is done ---------------------------------------------------------------------------------------------

    def _stopping(self) -> Declined:
        is_upgraded = self._supervisor.ownership.is_given_up
        return Declined(f"the agent is {'being upgraded: ask again' if is_upgraded else 'stopping'}", UNAVAILABLE)

    def _ask(self, trigger: Trigger) -> Deploy:
        deploy = self._supervisor.request(trigger)
        if deploy is None:
            raise self._stopping()
        return deploy

    async def _order(self, release: Path, trigger: Trigger) -> RequestedDeploy:
        """Have the link turned; a caller who goes away meanwhile changes nothing about that."""
        if self._supervisor.is_stopping:
            raise self._stopping()
        self._under_way += 1
        turn = _Turn(release, replace(trigger, request=secrets.token_hex(6)))
        self._ordered.send_nowait(turn)
        await turn.answered.wait()
        if turn.deploy is None:
            raise turn.refusal or self._stopping()
        return RequestedDeploy(turn.deploy, turn.settled)

    async def _make(self, turn: _Turn) -> release_link.LinkChange:
        """Turn the link, and wait until that is noticed.

        Raises:
            Declined: it cannot be turned, was turned elsewhere in the same moment, or there are no deploys any more.
        """
        self._expected = turn
        try:
            turned = await _on_disk(release_link.repoint, self._release, turn.release)
        except UsageError as error:
            raise Declined(str(error), CONFLICT) from None
        with trio.move_on_after(NOTICE_SECONDS):
            await turn.answered.wait()
        self._expected = None
        if turn.deploy is None:
            if await _on_disk(self._linked) != turn.release:
                raise Declined("the link was turned elsewhere in the same moment", CONFLICT)
            turn.deploy = self._ask(replace(turn.trigger, request=None))  # the turn counted for somebody else
        return turned

    async def _follow(self, turn: _Turn, turned: release_link.LinkChange) -> None:
        """Turn the link back if the deploy fails, unless somebody has changed it since."""
        deploy = turn.deploy
        assert deploy is not None
        try:
            await deploy.decided.wait()
            if (
                deploy.outcome is not None
                and deploy.outcome.result == "failed"
                and await _on_disk(release_link.restore, turned)
            ):
                log.info("the link is turned back", deploy=deploy.id, release_link=turned.link, to=turned.before)
                await self._until_noticed()
        except (UsageError, OSError) as error:
            log.warning("the link cannot be turned back", deploy=deploy.id, why=str(error))
        finally:
            self._under_way -= 1
            turn.settled.set()

    async def _until_noticed(self) -> None:
        """Wait until the deploys know what the link names, so that the status does too when a call is answered."""
        with trio.move_on_after(NOTICE_SECONDS):
            while self._supervisor.named != await _on_disk(self._linked):  # noqa: ASYNC110 - it has no event
                await trio.sleep(_LOOK_SECONDS)


async def _decide(decide: Callable[..., Path], *args: object) -> Path:
    """What ``decide`` says, in a thread, as it looks at the disk."""
    try:
        return await _on_disk(decide, *args)
    except Declined:
        raise
    except (RainbowdError, OSError, RuntimeError) as error:
        raise Declined(str(error), CONFLICT) from None


async def _on_disk(do: Callable[..., T], *args: object) -> T:
    return await trio.to_thread.run_sync(do, *args)
