"""The deploy side as the agent knows it: the supervisor, and what asks it for deploys."""

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
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

_WATCH_AGAIN_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 0.02

log = get_logger()


class DeployService:
    """All that deploys, for as long as the generations are this agent's.

    Args:
        base: the config file's directory.
        on_switch: told the config of each generation that becomes live.
        ownership, is_handed_over: see ``Supervisor``.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        world: Host,
        config: Config,
        *,
        base: Path,
        on_switch: Callable[[Config], None],
        ownership: Ownership,
        is_handed_over: bool,
    ) -> None:
        self.supervisor = Supervisor(
            roster, recorder, world, config, on_switch, ownership=ownership, is_handed_over=is_handed_over
        )
        self.calls = ApiDeploys(self.supervisor, roster, config.release, base=base, state_dir=config.state_dir)
        self._config = config
        self._intake = trio.CancelScope()

    def start(self, lives: trio.Nursery) -> None:
        """Deploy as asked until cancelled; every generation's life is a task of ``lives``."""
        lives.start_soon(self.supervisor.run, lives)
        lives.start_soon(self.calls.run)
        lives.start_soon(self._watch)

    def signal(self) -> None:
        """Deploy because of a signal."""
        self.supervisor.request(Trigger(kind="signal"))

    def stop(self) -> None:
        """Decide nothing more."""
        self._intake.cancel()
        self.supervisor.stop()

    async def until_quiet(self) -> None:
        """Wait until all is ours, and nothing is under way that another agent could not go on with."""
        await self.supervisor.ownership.until_complete()
        while not (self.supervisor.is_quiet and self.calls.are_quiet):  # noqa: ASYNC110 - many things end here
            await trio.sleep(_LOOK_AGAIN_SECONDS)

    async def _watch(self) -> None:
        """Watch until told to stop; a bug there is said and got over, as traffic must go on."""
        supervisor, config = self.supervisor, self._config
        with self._intake:
            await supervisor.started.wait()
            await supervisor.ownership.until_complete()  # until then all may be taken back, and nothing has been asked
            while True:
                try:
                    await watch(config.release, config.trigger_file, self.calls.report, seen=supervisor.seen)
                except Exception as bug:
                    log.error("bug: watching broke", exc_info=bug)
                    supervisor.seen = None
                    await trio.sleep(_WATCH_AGAIN_SECONDS)
