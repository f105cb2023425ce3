"""All that deploys, as one object for the agent: the supervisor, the watcher and the deploys of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.config_paths import restart_file_of
from rainbowd.deploy.context import DeployContext
from rainbowd.deploy.deploys.api_deploys import ApiDeploys
from rainbowd.deploy.deploys.supervisor import Supervisor
from rainbowd.deploy.watch.restart_file import RestartFile
from rainbowd.deploy.watch.watcher import Trigger, watch
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.deploy.generations.agent_ownership import Ownership
    from rainbowd.deploy.interfaces import Host
    from rainbowd.deploy.watch.maintenance_files import SiteFiles
    from rainbowd.deploy.watch.regular_file import WatchedFiles
    from rainbowd.report.outcome import RequestedDeploy
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

_WATCH_AGAIN_SECONDS = 1.0
_POLL_SECONDS = 0.02

log = get_logger()


class DeployService:
    """The deploying of one app, as long as this agent owns its generations.

    Args:
        roster: gets the generations, and which of them is live.
        recorder: writes the journal and ``status.json``.
        host: launches apps, and reads and stores files.
        config: the config at the agent's start, whose paths stay in effect.
        base: the config file's directory.
        on_switch: called with the config of each generation that becomes live.

    Attributes:
        supervisor: carries out the deploys, from the first ``start`` on.
        context: shared by all parts of the deploying, from the first ``start`` on.
    """

    supervisor: Supervisor
    context: DeployContext

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        host: Host,
        config: Config,
        *,
        base: Path,
        on_switch: Callable[[Config], None],
    ) -> None:
        self._roster = roster
        self._recorder = recorder
        self._host = host
        self._config = config
        self._base = base
        self._on_switch = on_switch

    def start(
        self, nursery: trio.Nursery, *, ownership: Ownership, is_handed_over: bool, site_files: SiteFiles
    ) -> None:
        """Start to deploy; after another agent has failed to take over, start again.

        Args:
            nursery: runs everything; cancel it to end that.
            ownership: whether this agent may stop the generations.
            is_handed_over: whether another agent or an earlier start has watched the generations until now.
            site_files: are watched, too.
        """
        context = self.context = DeployContext(
            self._roster, self._recorder, self._host, ownership, nursery, trio.Event()
        )
        self.supervisor = Supervisor(context, self._config, self._on_switch, is_handed_over=is_handed_over)
        self._api_deploys = ApiDeploys(
            self.supervisor, self._roster, self._config.release, base=self._base, state_dir=self._config.state_dir
        )
        self._watching = trio.CancelScope()
        nursery.start_soon(self.supervisor.run)
        nursery.start_soon(self._api_deploys.run)
        nursery.start_soon(self._watch, site_files)

    async def deploy(self, release: Path, trigger: Trigger) -> RequestedDeploy:
        """Request a deploy of ``release``; for the errors see ``ApiDeploys.deploy``."""
        return await self._api_deploys.deploy(release, trigger)

    async def redeploy(
        self, release: str | None, note: str | None, by: str | None = None, is_now: bool = False
    ) -> RequestedDeploy:
        """Request a deploy; for the arguments and errors see ``ApiDeploys.redeploy``."""
        return await self._api_deploys.redeploy(release, note, by, is_now)

    async def rollback(self, note: str | None, by: str | None = None) -> RequestedDeploy:
        """Request a rollback; for the arguments and errors see ``ApiDeploys.rollback``."""
        return await self._api_deploys.rollback(note, by)

    def signal(self) -> None:
        """Request a deploy because of a signal."""
        self.supervisor.request(Trigger(kind="signal"))

    def stop(self) -> None:
        """Stop watching, and interrupt the deploy that is under way; the live generation stays."""
        self._watching.cancel()
        self.supervisor.stop()

    @property
    def is_idle(self) -> bool:
        """Whether another agent could continue with everything that is under way."""
        return self.supervisor.is_idle and self._api_deploys.is_idle

    async def until_idle(self) -> None:
        """Wait until this agent owns all generations, and another agent could continue with everything under way."""
        await self.supervisor.ownership.until_complete()
        while not self.is_idle:  # noqa: ASYNC110 - many things end here
            await trio.sleep(_POLL_SECONDS)

    async def _watch(self, site_files: SiteFiles) -> None:
        """Watch the files until stopped; a bug there is logged, and the watching starts again."""
        supervisor, config, take_trigger = self.supervisor, self._config, self._api_deploys.take_trigger
        trigger_file = config.trigger_file
        with self._watching:
            await supervisor.started.wait()
            await supervisor.ownership.until_complete()  # until then the old agent may take all generations back
            others: list[WatchedFiles] = [site_files]
            if trigger_file is not None:
                others.append(RestartFile(restart_file_of(trigger_file), supervisor.restart))
            while True:
                try:
                    await watch(
                        config.release,
                        trigger_file,
                        take_trigger,
                        seen=supervisor.seen,
                        others=others,
                    )
                except Exception as bug:
                    log.error("bug: watching broke", exc_info=bug)
                    supervisor.seen = None
                    await trio.sleep(_WATCH_AGAIN_SECONDS)
