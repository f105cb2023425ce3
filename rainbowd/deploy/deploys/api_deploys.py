"""Deploys that the API requests: the link is pointed at their release, and restored if they fail.

The watcher sees such a link change like any other, and this module recognises it as its own. So a deploy through the
API and a deploy through the files are the same: they are merged alike, and nothing is deployed twice.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import trio

from rainbowd import release_link
from rainbowd.deploy.deploys.link_restoration import restore_link_if_failed
from rainbowd.deploy.watch.file_state import escaped
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.errors import Declined, RainbowdError, UsageError
from rainbowd.log import get_logger
from rainbowd.release_choice import find_sibling, rollback_target
from rainbowd.report.outcome import RequestedDeploy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.deploys.supervisor import Supervisor
    from rainbowd.report.outcome import Outcome
    from rainbowd.roster import Roster

NOTICE_SECONDS = 3.0
"""How long the watcher may take to see a link change: it compares files twice a second, even if events are lost."""

_POLL_SECONDS = 0.02

BAD_REQUEST, CONFLICT, INTERNAL_ERROR, UNAVAILABLE = 400, 409, 500, 503

T = TypeVar("T")

log = get_logger()


@dataclass(eq=False)
class _LinkOrder:
    """One requested change of the link.

    Attributes:
        release: the release to point the link at.
        trigger: what requests the deploy.
        deploy: the deploy that came of it; None if none did.
        refusal: why the link was not changed; None if it was.
        answered: set once there is a deploy or a refusal.
        finished: set once the deploy has an outcome and, if it failed, the link is restored.
    """

    release: Path
    trigger: Trigger
    deploy: Deploy | None = None
    refusal: Declined | None = None
    answered: trio.Event = field(default_factory=trio.Event)
    finished: trio.Event = field(default_factory=trio.Event)


class ApiDeploys:
    """The API's requests for deploys; the link is changed for one after another.

    Args:
        supervisor: carries out the deploys.
        roster: knows the live release.
        release: the release link, or the plain directory.
        base: the directory that relative paths of releases start from.
        state_dir: has the journal, which names the release that was live before.
    """

    def __init__(self, supervisor: Supervisor, roster: Roster, release: Path, *, base: Path, state_dir: Path) -> None:
        self._supervisor = supervisor
        self._roster = roster
        self._release = release
        self._base = base
        self._state_dir = state_dir
        self._expected: _LinkOrder | None = None
        self._unfinished = 0
        self._followed: list[Deploy] = []
        self._send, self._receive = trio.open_memory_channel[_LinkOrder](math.inf)

    @property
    def is_idle(self) -> bool:
        """Whether no link change is under way, and none may still be undone by this agent."""
        return self._unfinished == 0 and all(deploy.is_baking for deploy in self._followed)

    # --- requests -------------------------------------------------------------------------------------------------

    async def redeploy(
        self, release: str | None, note: str | None, by: str | None = None, is_now: bool = False
    ) -> RequestedDeploy:
        """Request a deploy, after pointing the link at another release if one is given.

        Args:
            release: the name of a directory next to the current release, or a path relative to ``base``; None for the
                release that the files name.
            note: the deployer's note for the history; None for none.
            by: the caller's name for the history; None if it is unknown.
            is_now: whether the deploy skips canary and bake.

        Raises:
            Declined: the link cannot name that release, or the agent stops; nothing was changed.
        """
        await self._supervisor.ownership.until_complete()  # the upgrade may still fail, and the request with it
        trigger = Trigger(kind="api", note=escaped(note) if note else None, by=by, is_now=is_now)
        if release is None:
            deploy = self._request(trigger)
            return _requested(deploy, deploy.finished)
        return await self._order(await _choose(self._find_sibling, release), trigger)

    async def rollback(self, note: str | None, by: str | None = None) -> RequestedDeploy:
        """Point the link at the live release, or at the release that was live before it, and request a deploy.

        Args:
            note: the deployer's note for the history; None for none.
            by: the caller's name for the history; None if it is unknown.

        Raises:
            Declined: there is no such release, the link cannot name it, or the agent stops.
        """
        await self._supervisor.ownership.until_complete()
        trigger = Trigger(kind="api", note=escaped(note) if note else None, by=by, is_rollback=True)
        return await self._order(await _choose(self._rollback_target), trigger)

    async def deploy(self, release: Path, trigger: Trigger) -> RequestedDeploy:
        """Point the link at a release, also while no link exists yet, and request a deploy.

        Args:
            release: the directory, absolute and resolved.
            trigger: what requests the deploy, with an id of the requester's own.

        Raises:
            Declined: the link cannot name that release, or the agent stops; nothing was changed.
        """
        await self._supervisor.ownership.until_complete()
        return await self._order(release, trigger)

    def take_trigger(self, trigger: Trigger) -> None:
        """Request a deploy because of a changed file; a link change of an API request becomes that request's deploy.

        Args:
            trigger: what the watcher has seen.
        """
        order = self._expected
        if order is None or trigger.kind != "symlink" or self._linked() != order.release:
            self._supervisor.request(trigger)
            return
        self._expected = None
        order.deploy = self._supervisor.request(order.trigger)
        order.answered.set()

    async def run(self) -> None:
        """Change the link as requested until cancelled; a task for each deploy restores it if the deploy fails."""
        async with trio.open_nursery() as nursery:
            async for order in self._receive:
                try:
                    deploy = await self._change_link(order)
                    self._followed.append(deploy)
                    nursery.start_soon(self._follow, deploy, order)
                except Declined as refusal:
                    order.refusal = refusal
                except Exception as bug:
                    log.error("bug: a call broke", exc_info=bug)
                    order.refusal = Declined("the agent failed; its log says more", INTERNAL_ERROR)
                finally:
                    self._unfinished -= 1
                    self._expected = None
                    order.answered.set()

    # --- the release that a request means; these read the disk, so they run in a thread -------------------------------

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

    # --- link changes ---------------------------------------------------------------------------------------------

    def _refusal(self) -> Declined:
        is_upgraded = self._supervisor.ownership.is_given_up
        return Declined(f"the agent is {'being upgraded: ask again' if is_upgraded else 'stopping'}", UNAVAILABLE)

    def _request(self, trigger: Trigger) -> Deploy:
        deploy = self._supervisor.request(trigger)
        if deploy is None:
            raise self._refusal()
        return deploy

    async def _order(self, release: Path, trigger: Trigger) -> RequestedDeploy:
        """Order a link change and wait for its deploy; a caller that goes away meanwhile does not stop it."""
        if self._supervisor.is_stopping:
            raise self._refusal()
        self._unfinished += 1
        order = _LinkOrder(release, replace(trigger, request=trigger.request or secrets.token_hex(6)))
        self._send.send_nowait(order)
        await order.answered.wait()
        if order.deploy is None:
            raise order.refusal or self._refusal()
        return _requested(order.deploy, order.finished)

    async def _change_link(self, order: _LinkOrder) -> Deploy:
        """Point the link at the release, and return the deploy that comes of it once the watcher has seen that.

        Raises:
            Declined: the link cannot be changed, somebody else changed it in the same moment, or the agent stops.
        """
        self._expected = order
        try:
            change = await _on_disk(release_link.repoint, self._release, order.release)
        except UsageError as error:
            raise Declined(str(error), CONFLICT) from None
        with trio.move_on_after(NOTICE_SECONDS):
            await order.answered.wait()
        self._expected = None
        if order.deploy is None:
            if await _on_disk(self._linked) != order.release:
                raise Declined("the link was changed again in the same moment", CONFLICT)
            order.deploy = self._request(replace(order.trigger, request=None))  # the change was taken for another's
        order.deploy.link_change = change
        return order.deploy

    async def _follow(self, deploy: Deploy, order: _LinkOrder) -> None:
        """Restore the link if the deploy fails, unless somebody has changed it since."""
        try:
            if await restore_link_if_failed(deploy):
                await self._until_noticed()
        finally:
            self._followed.remove(deploy)
            order.finished.set()

    async def _until_noticed(self) -> None:
        """Wait until the supervisor knows what the link names, so that the status is right when the API answers."""
        with trio.move_on_after(NOTICE_SECONDS):
            while self._supervisor.named_release != await _on_disk(self._linked):  # noqa: ASYNC110 - no event
                await trio.sleep(_POLL_SECONDS)


def _requested(deploy: Deploy, finished: trio.Event) -> RequestedDeploy:
    async def outcome() -> Outcome:
        await finished.wait()
        if deploy.outcome is None:
            told = f"the agent is being upgraded, and the next one continues deploy {deploy.id}: see the history"
            raise Declined(told, UNAVAILABLE)
        return deploy.outcome

    return RequestedDeploy(deploy.id, outcome)


async def _choose(choose: Callable[..., Path], *args: object) -> Path:
    """Return the release that ``choose`` returns, which runs in a thread because it reads the disk."""
    try:
        return await _on_disk(choose, *args)
    except Declined:
        raise
    except (RainbowdError, OSError, RuntimeError) as error:
        raise Declined(str(error), CONFLICT) from None


async def _on_disk(do: Callable[..., T], *args: object) -> T:
    return await trio.to_thread.run_sync(do, *args)
