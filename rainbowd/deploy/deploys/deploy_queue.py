"""The next deploy, into which all requests are merged while another deploy is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.deploy import Deploy
from rainbowd.deploy.deploys.link_intent import is_restored, is_rollback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.deploys.deploy_log import DeployLog
    from rainbowd.deploy.generations.deploy_memory import MemoryFile
    from rainbowd.deploy.interfaces import DesiredState
    from rainbowd.deploy.watch.watcher import Trigger


class DeployQueue:
    """A queue for at most one deploy.

    Args:
        desired_state: reads the files.
        memory: knows the release that was live before.
        deploy_log: records each request.
        on_link_change: called with the release that the link names, if a request has changed the link.

    Attributes:
        named_release: the release that the files named when they were last read; None if they named none.
        pending: the next deploy; None if there is none.
        last_failed: the last deploy, if it has failed and nothing was requested since.
    """

    def __init__(
        self,
        desired_state: DesiredState,
        memory: MemoryFile,
        deploy_log: DeployLog,
        *,
        on_link_change: Callable[[Path | None], None],
    ) -> None:
        self.named_release: Path | None = desired_state.named_release()
        self.pending: Deploy | None = None
        self.last_failed: Deploy | None = None
        self._desired_state = desired_state
        self._memory = memory
        self._deploy_log = deploy_log
        self._on_link_change = on_link_change
        self._added = trio.Event()

    def request(self, trigger: Trigger, live: Path | None, *, is_deploying: bool) -> Deploy | None:
        """Merge a request into the next deploy.

        Args:
            trigger: what requests the deploy.
            live: the live release; None if nothing is live.
            is_deploying: whether a deploy is under way.

        Returns:
            The next deploy; None if the trigger is the restored link of the last deploy, which has failed: then nothing
            is deployed.
        """
        named, before = self._desired_state.named_release(), self.named_release
        self.named_release = named
        is_link_changed = named != before and (trigger.kind == "symlink" or trigger.request is not None)
        is_settled = live is not None and not is_deploying and self.pending is None
        if is_link_changed and trigger.request is None and is_settled and self._record_restored_link():
            return None
        deploy = self.pending or Deploy()
        deploy.is_link_change_only &= is_link_changed
        deploy.relaunch_plan = deploy.retry_of = deploy.prepared = None
        past = live, self._memory.content.previous_release
        is_back = is_rollback(trigger, named, is_link_changed=is_link_changed, past=past)
        self.add(deploy, named, trigger, is_rollback=is_back)
        if is_link_changed:
            self._on_link_change(named)
        return deploy

    def add(self, deploy: Deploy, release: Path | None, trigger: Trigger, *, is_rollback: bool = False) -> None:
        """Make ``deploy`` the next, and record what requests it.

        Args:
            deploy: a new deploy, or the next one.
            release: the release that is requested; None if the files name none.
            trigger: what requests the deploy.
            is_rollback: whether the request is a rollback.
        """
        self._deploy_log.record_request(deploy, release, trigger, is_rollback=is_rollback)
        self.pending = deploy
        self.last_failed = None
        self._added.set()

    def retry(self, deploy: Deploy, trigger: Trigger) -> None:
        """Make ``deploy`` the next, of the release that the files name now.

        Args:
            deploy: a new deploy.
            trigger: what requests the deploy.
        """
        self.named_release = self._desired_state.named_release()
        self.add(deploy, self.named_release, trigger)

    def take(self) -> Deploy | None:
        """Remove and return the next deploy; None if there is none."""
        deploy, self.pending = self.pending, None
        return deploy

    async def next(self) -> Deploy:
        """Wait for the next deploy, and remove and return it."""
        while True:
            await self._added.wait()
            self._added = trio.Event()
            if (deploy := self.take()) is not None:
                return deploy

    def _record_restored_link(self) -> bool:
        """Return whether the link is as it was before the last deploy, which has failed; if so, record that."""
        failed = self.last_failed
        if failed is None or not is_restored(failed.file_state_before, self._desired_state.file_state()):
            return False
        self._deploy_log.record_link_restored(failed, self.named_release)
        self.last_failed = None
        return True
