"""The agent's status: built when something changes, and published in ``status.json`` and to systemd."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.agent.status_content import build_status, timestamp
from rainbowd.log import get_logger
from rainbowd.sd_notify import SystemdNotifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rainbowd.agent.fleet_membership import FleetMembership
    from rainbowd.agent.maintenance import SiteAdmission
    from rainbowd.deploy.deploys.progress import Progress
    from rainbowd.deploy.deploys.snapshot import DeploySnapshot
    from rainbowd.deploy.service import DeployService
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

_COUNTERS_SECONDS = 1.0
"""How often ``status.json`` is written while only counters change."""

_DEPLOYING_SECONDS = 0.25
"""How often it is written during a deploy, for the output of hooks and the results of health checks."""

log = get_logger()


@dataclass(frozen=True)
class AgentEntry:
    """The part of the entry ``agent`` that never changes.

    Attributes:
        name: the app's name for people.
        addresses: the addresses on which the proxy listens.
        started_at: when the agent started, in seconds since the epoch.
    """

    name: str
    addresses: Sequence[str]
    started_at: float


class StatusPublisher:
    """The agent's status, which is built once for any number of changes, right before it is written.

    Args:
        roster: the generations.
        recorder: writes ``status.json``.
        deploys: has the supervisor, which is another one after a failed upgrade.
        agent: describes this agent.
        fleet: has the status of the member of a fleet; None without a fleet.
        site: knows whether the site is closed.

    Attributes:
        workers: returns the entries of the processes that serve; empty if this is the only one.
        systemd: sends the status to systemd.
        state: of the agent: ``starting``, ``ready`` or ``stopping``.
        is_silent: whether nothing is published, because another agent publishes its own status.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        deploys: DeployService,
        agent: AgentEntry,
        *,
        fleet: FleetMembership | None,
        site: SiteAdmission,
    ) -> None:
        self.systemd = SystemdNotifier()
        self.state = "starting"
        self.is_silent = False
        self.workers: Callable[[], list[dict[str, int | None]]] = list
        self._roster = roster
        self._recorder = recorder
        self._deploys = deploys
        self._agent = agent
        self._fleet = fleet
        self._site = site
        self._published_counters: object = None
        if self.systemd.is_present:
            recorder.observe(self.systemd.on_event)

    def start(self, nursery: trio.Nursery) -> None:
        """Publish from now on, as there is a supervisor; a task of ``nursery`` publishes what no event reports."""
        self._recorder.status_source = self._build
        self.changed()
        nursery.start_soon(self.publish_counters)

    def changed(self) -> None:
        """Publish the status in the next turn of the recorder."""
        self._recorder.status_changed()

    def silence(self) -> None:
        """Let another agent publish its status from now on; a change until now is still published."""
        self._recorder.build_status()
        self.is_silent = True

    def resume(self) -> None:
        """Publish again: no other agent does."""
        self.is_silent = False
        self.changed()

    def ready(self) -> None:
        """Publish that the agent accepts connections."""
        if self.state == "starting":
            self.state = "ready"
        log.info("ready", version=__version__, pid=os.getpid(), listen=self._agent.addresses)
        self.changed()
        self._recorder.build_status()  # systemd gets the status before the news
        if self.state == "ready":
            self.systemd.notify_ready()

    def stopping(self, drain_seconds: float, kill_after_seconds: float) -> None:
        """Publish that the agent stops.

        Args:
            drain_seconds: how long requests in flight can take.
            kill_after_seconds: how long the app can take after that.
        """
        self.state = "stopping"
        self.systemd.notify_stopping(drain_seconds + kill_after_seconds)
        self.changed()

    def _build(self) -> Mapping[str, object] | None:
        """Return the present status for ``status.json``, and send it to systemd; None if another agent does."""
        if self.is_silent:
            return None
        deploys = self._deploys.supervisor.snapshot()
        self._published_counters = self._counters(deploys.progress)
        status = self._status(deploys)
        if self.systemd.is_present:
            self.systemd.publish_status(status)
        return status

    def status(self) -> dict[str, object]:
        """Return the present status, as in ``status.json``."""
        return self._status(self._deploys.supervisor.snapshot())

    def _status(self, deploys: DeploySnapshot) -> dict[str, object]:
        agent = {
            "name": self._agent.name,
            "pid": os.getpid(),
            "version": __version__,
            "started_at": timestamp(self._agent.started_at),
            "listen": list(self._agent.addresses),
            "state": self.state,
        }
        if workers := self.workers():
            agent["workers"] = workers
        fleet = None if self._fleet is None else self._fleet.status()
        status = build_status(agent, self._roster, deploys, self._site.status)
        return status if fleet is None else {**status, "fleet": fleet}

    async def publish_counters(self) -> None:
        """Publish once a second if a counter changed; during a deploy more often, also for its output and checks."""
        while True:
            deploys = self._deploys.supervisor.snapshot()
            if self._counters(deploys.progress) != self._published_counters:
                self.changed()
            await trio.sleep(_COUNTERS_SECONDS if deploys.deploying is None else _DEPLOYING_SECONDS)

    def _counters(self, progress: Progress | None) -> object:
        """Return the values that can change while no generation changes its state."""
        generations = self._roster.generations.values()
        counters = [(one.pid, one.requests, one.errors, len(one.holders), len(one.tunnels)) for one in generations]
        steps = None if progress is None else (progress.output_lines, [one.last_check.result for one in generations])
        return counters, self.workers(), steps


def app_name(configured: str | None, base: Path) -> str:
    """Return the app's name for people.

    Args:
        configured: the config's ``name``.
        base: the config file's directory, which gives its own name otherwise.
    """
    return configured or Path(os.path.realpath(base)).name or "rainbowd"
