"""The agent's membership in a fleet, which does nothing and loads nothing unless ``fleet`` is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rainbowd.config import Config
    from rainbowd.deploy.service import DeployService
    from rainbowd.fleet.member import Member

AGAIN_SECONDS = 5.0

log = get_logger()


class FleetMembership:
    """The member of a fleet, as long as this agent owns its generations.

    Args:
        config: at the agent's start.
        on_change: called when the member's status has changed.
    """

    def __init__(self, config: Config, on_change: Callable[[], None]) -> None:
        self._config = config
        self._on_change = on_change
        self._member: Member | None = None
        self._running = trio.CancelScope()

    def status(self) -> Mapping[str, object] | None:
        """Return the status's ``fleet``; None if no fleet is configured, or before the agent deploys."""
        return None if self._member is None else self._member.report.status()

    async def run(self, deploys: DeployService) -> None:
        """Be a member until cancelled; a bug there is logged, and the member starts again.

        Args:
            deploys: the service whose generations this agent owns, or will own once an upgrade is complete.
        """
        if self._config.fleet is None:
            return
        await deploys.supervisor.started.wait()
        await deploys.supervisor.ownership.until_complete()
        if not self._running.cancel_called:
            self._running = trio.CancelScope()  # a second one after a failed upgrade
        with self._running:
            while True:
                try:
                    await self._take_part(deploys)
                except Exception as bug:
                    log.error("bug: the member of the fleet broke", exc_info=bug)
                    await trio.sleep(AGAIN_SECONDS)

    def store_again(self) -> None:
        """Write this machine's own record once more, because the state directory was removed.

        Raises:
            OSError: it cannot be written.
        """
        if self._member is not None:
            self._member.store_again()

    def stop(self) -> None:
        """Leave the fleet at once, because the agent stops for good."""
        if self._member is not None:
            self._member.is_leaving = True
        self._running.cancel()

    async def _take_part(self, deploys: DeployService) -> None:
        from rainbowd.agent.fleet_deploys import FleetDeploys, make_member  # noqa: PLC0415 - only if it is configured

        machine = FleetDeploys(deploys, self._config)
        self._member = make_member(machine, self._config, self._on_change)
        await self._member.run()
