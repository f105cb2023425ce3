"""What the agent tells of itself: to its log, to ``status.json`` and to systemd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.agent.snapshot import snapshot, timestamp
from rainbowd.log import get_logger
from rainbowd.sd_notify import SystemdNotifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rainbowd.deploy.deploys.supervisor import Supervisor
    from rainbowd.listeners import Listener
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

_COUNTERS_SECONDS = 1.0
"""How often ``status.json`` is written while only counters move."""

_DEPLOYING_SECONDS = 0.25
"""How often it is written while a hook writes lines or health checks come back."""

log = get_logger()


class StatusPublisher:
    """Tells what there is, each time that it changes.

    Args:
        roster: with the generations.
        recorder: writes ``status.json``.
        listeners: of the proxy.
        supervisor: of now: after an upgrade that failed, that is another.
        name: of the app, for people.
        started_at: seconds since the epoch.

    Attributes:
        notices: for systemd.
        state: of the agent: ``starting``, ``ready`` or ``stopping``.
        is_silent: another agent tells.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        listeners: Sequence[Listener],
        supervisor: Callable[[], Supervisor],
        *,
        name: str,
        started_at: float,
        is_silent: bool,
    ) -> None:
        self.notices = SystemdNotifier()
        self.state = "starting"
        self.is_silent = is_silent
        self._roster = roster
        self._recorder = recorder
        self._listeners = listeners
        self._supervisor = supervisor
        self._name = name
        self._started_at = started_at
        self._told: object = None
        recorder.observe(self.notices.on_event)

    @property
    def addresses(self) -> list[str]:
        """Where the proxy listens."""
        return [listener.address for listener in self._listeners]

    def ready(self) -> None:
        """We accept."""
        if self.state == "starting":
            self.state = "ready"
        log.info("ready", version=__version__, pid=os.getpid(), listen=self.addresses)
        self.publish()
        if self.state == "ready":
            self.notices.notify_ready()

    def stopping(self, drain_seconds: float, kill_after_seconds: float) -> None:
        """We are told to stop, which takes both times at the most."""
        self.state = "stopping"
        self.notices.notify_stopping(drain_seconds + kill_after_seconds)
        self.publish()

    def publish(self) -> None:
        """Tell what there is now."""
        if not self.is_silent:
            self._told = self._moving()
            status = self.status()
            self._recorder.publish(status)
            self.notices.publish_status(status)

    def status(self) -> dict[str, object]:
        """As ``status.json`` has it."""
        agent = {
            "name": self._name,
            "pid": os.getpid(),
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "listen": self.addresses,
            "state": self.state,
        }
        return snapshot(agent, self._roster, self._supervisor())

    async def publish_counters(self) -> None:
        """Publish once a second if a counter moved; during a deploy more often, if its output or last check did."""
        while True:
            await trio.sleep(_DEPLOYING_SECONDS if self._supervisor().deploying is not None else _COUNTERS_SECONDS)
            if self._moving() != self._told:
                self.publish()

    def _moving(self) -> object:
        """Return what changes between two changes of a generation's state."""
        generations = self._roster.generations.values()
        counters = [(one.pid, one.requests, len(one.holders), len(one.tunnels)) for one in generations]
        deploy = self._supervisor().deploying
        progress = None if deploy is None else deploy.progress
        return counters, None if progress is None else (progress.output_lines, progress.last_check)


def app_name(configured: str | None, base: Path) -> str:
    """Return the app's name for people.

    Args:
        configured: the config's ``name``.
        base: the config file's directory, which gives its own name otherwise.
    """
    return configured or Path(os.path.realpath(base)).name or "rainbowd"
