"""Nothing is live: what is launched then, and what is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.first_launch import First, until_there
from rainbowd.deploy.generations.recovery import TRIGGER_SECONDS
from rainbowd.deploy.verdicts import Deploy
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.generations.recovery import Recovery
    from rainbowd.deploy.interfaces import Host
    from rainbowd.deploy.verdicts import DeployLog

log = get_logger()


class Outage:
    """Brings something live again.

    Args:
        world: reads the files.
        recovery: launches what was live.
        verdicts: remember what was live.
        retry: asks for a deploy of what the files name, unless one is asked for already.
        request: asks for the first deploy.

    Attributes:
        is_waiting: there was never a release yet, and the first one is waited for.
    """

    def __init__(
        self,
        world: Host,
        recovery: Recovery,
        verdicts: DeployLog,
        *,
        retry: Callable[[Deploy, Trigger], None],
        request: Callable[[Trigger], object],
    ) -> None:
        self.is_waiting = False
        self._world = world
        self._recovery = recovery
        self._verdicts = verdicts
        self._retry = retry
        self._request = request

    def begin(self, what: First, link: Path, lives: trio.Nursery) -> None:
        """Launch ``what`` at the start of an agent.

        Args:
            what: what to begin with.
            link: the path of the release link.
            lives: the nursery for what is launched.
        """
        if what is First.WAIT:
            self.is_waiting = True
            log.info("waiting for the first release", release=link)
            lives.start_soon(self._deploy_first)
        elif what is First.LAST_GOOD:
            log.info("launching what was live before the last deploy failed", release=self._verdicts.last_good())
            self.rescue(None, lives)
        else:
            self._request(Trigger(kind="start"))

    def rescue(self, failed: Deploy | None, lives: trio.Nursery) -> None:
        """Launch what was live last; if that fails, try what the files name, after a while.

        Args:
            failed: the deploy that has failed; None if that was an earlier agent's.
            lives: the nursery for what is launched.
        """
        if not self._recovery.is_under_way:
            self._recovery.begin(lambda: self._rescue(failed, lives), lives)

    async def _rescue(self, failed: Deploy | None, lives: trio.Nursery) -> None:
        last = self._verdicts.last_good()
        if await self._recovery.of_failed(last if last != self._world.named() else None, lives):
            return
        self._recovery.end()
        retry, note = Deploy(turns_only=False), None
        if failed is not None:
            retry.retry_of, retry.prepared, note = failed.retry_of or failed.id, failed.prepared, failed.note
        self._retry(retry, Trigger(kind="start", note=note))

    async def _deploy_first(self) -> None:
        """Wait for the first release; its coming is a trigger, too, which usually is seen first."""
        await until_there(self._world)
        await trio.sleep(TRIGGER_SECONDS)
        if self.is_waiting:
            self._request(Trigger(kind="start"))
