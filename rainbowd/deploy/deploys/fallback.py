"""The launches while nothing is live: at the start of an agent, and after a deploy has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.deploy import Deploy
from rainbowd.deploy.deploys.first_launch import FirstLaunch, choose_first_launch, until_release_exists
from rainbowd.deploy.generations.recovery import TRIGGER_SECONDS
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.generations.deploy_memory import MemoryFile
    from rainbowd.deploy.generations.recovery import Recovery
    from rainbowd.deploy.watch.file_state import FileState

log = get_logger()


class Fallback:
    """Launches and deploys that make a generation live again while none is.

    Args:
        context: see ``DeployContext``.
        recovery: launches the release that was live last.
        memory: knows the release that was live last.
        retry: requests a deploy of what the files name, unless another deploy is requested already.
        request: requests the first deploy.

    Attributes:
        is_waiting: there was never a release yet, and the agent waits for the first one.
    """

    def __init__(
        self,
        context: DeployContext,
        recovery: Recovery,
        memory: MemoryFile,
        *,
        retry: Callable[[Deploy, Trigger], None],
        request: Callable[[Trigger], object],
    ) -> None:
        self.is_waiting = False
        self._desired_state = context.host.desired_state
        self._nursery = context.nursery
        self._recovery = recovery
        self._memory = memory
        self._retry = retry
        self._request = request

    def start(self, now: FileState | None, link: Path) -> None:
        """Launch what a starting agent launches first.

        Args:
            now: the state of the files; None if it is unknown.
            link: the path of the release link.
        """
        last_good_release = self._memory.last_good_release()
        first_launch = choose_first_launch(self._memory.content, now, last_good_release)
        if first_launch is FirstLaunch.WAIT:
            self.is_waiting = True
            log.info("waiting for the first release", release=link)
            self._nursery.start_soon(self._deploy_first)
        elif first_launch is FirstLaunch.LAST_GOOD:
            log.info("launching the release that was live before the last deploy failed", release=last_good_release)
            self.recover(None)
        else:
            self._request(Trigger(kind="start"))

    def recover(self, failed: Deploy | None) -> None:
        """Launch the release that was live last; if that fails, deploy what the files name after a delay.

        Args:
            failed: the deploy that has failed; None if an earlier agent has recorded it.
        """
        if not self._recovery.is_running:
            self._recovery.start(lambda: self._recover(failed))

    async def _recover(self, failed: Deploy | None) -> None:
        last, named = self._memory.last_good_release(), self._desired_state.named_release()
        if await self._recovery.relaunch_last_good(last if last != named else None):
            return
        self._recovery.stop()
        retry, note = Deploy(is_link_change_only=False), None
        if failed is not None:
            retry.retry_of, retry.prepared, note = failed.retry_of or failed.id, failed.prepared, failed.note
        self._retry(retry, Trigger(kind="start", note=note))

    async def _deploy_first(self) -> None:
        """Wait for the first release, and deploy it unless its trigger has requested that already."""
        await until_release_exists(self._desired_state)
        await trio.sleep(TRIGGER_SECONDS)
        if self.is_waiting:
            self._request(Trigger(kind="start"))
