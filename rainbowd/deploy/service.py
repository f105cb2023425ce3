"""All that deploys, as one object for the agent: the supervisor, the watcher and the deploys of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.api_deploys import ApiDeploys
from rainbowd.deploy.deploys.supervisor import Supervisor
from rainbowd.deploy.watch.watcher import Trigger, watch
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.deploy.generations.ownership import Ownership
    from rainbowd.deploy.interfaces import Host
    from rainbowd.deploy.watch.site_files import SiteFiles
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

_WATCH_AGAIN_SECONDS = 1.0
_POLL_SECONDS = 0.02

log = get_logger()


class DeployService:
    """The deploying of one app, as long as this agent owns its generations.

    Args:
        roster: gets the generations, and which of them is live.
        recorder: writes the journal.
        host: launches apps, and reads and stores files.
        config: the config at the agent's start.
        base: the config file's directory.
        on_switch: called with the config of each generation that becomes live.
        site_files: are watched, too.
        ownership, is_handed_over: see ``Supervisor``.

    Attributes:
        supervisor: carries out the deploys.
        api_deploys: requests deploys for the API.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        host: Host,
        config: Config,
        *,
        base: Path,
        on_switch: Callable[[Config], None],
        site_files: SiteFiles,
        ownership: Ownership,
        is_handed_over: bool,
    ) -> None:
        self.supervisor = Supervisor(
            roster, recorder, host, config, on_switch, ownership=ownership, is_handed_over=is_handed_over
        )
        self.api_deploys = ApiDeploys(self.supervisor, roster, config.release, base=base, state_dir=config.state_dir)
        self._config = config
        self._site_files = site_files
        self._watching = trio.CancelScope()

    def start(self, nursery: trio.Nursery) -> None:
        """Start to deploy, as tasks of ``nursery`` that also run each generation; cancel it to end them."""
        nursery.start_soon(self.supervisor.run, nursery)
        nursery.start_soon(self.api_deploys.run)
        nursery.start_soon(self._watch)

    def signal(self) -> None:
        """Request a deploy because of a signal."""
        self.supervisor.request(Trigger(kind="signal"))

    def stop(self) -> None:
        """Stop watching, and interrupt the deploy that is under way; the live generation stays."""
        self._watching.cancel()
        self.supervisor.stop()

    async def until_idle(self) -> None:
        """Wait until this agent owns all generations, and another agent could continue with everything under way."""
        await self.supervisor.ownership.until_complete()
        while not (self.supervisor.is_idle and self.api_deploys.is_idle):  # noqa: ASYNC110 - many things end here
            await trio.sleep(_POLL_SECONDS)

    async def _watch(self) -> None:
        """Watch the files until stopped; a bug there is logged, and the watching starts again."""
        supervisor, config = self.supervisor, self._config
        with self._watching:
            await supervisor.started.wait()
            await supervisor.ownership.until_complete()  # until then the old agent may take all generations back
            while True:
                try:
                    await watch(
                        config.release,
                        config.trigger_file,
                        self.api_deploys.take_trigger,
                        seen=supervisor.seen,
                        site_files=self._site_files,
                    )
                except Exception as bug:
                    log.error("bug: watching broke", exc_info=bug)
                    supervisor.seen = None
                    await trio.sleep(_WATCH_AGAIN_SECONDS)
