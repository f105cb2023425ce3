"""Maintenance, pauses and error pages: read from the site's files, and applied to the proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.watch.maintenance_files import SiteFiles, SiteState
from rainbowd.deploy.watch.regular_file import find_file
from rainbowd.log import get_logger
from rainbowd.proxy import Maintenance

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.agent.proxies import Proxies
    from rainbowd.config import Config
    from rainbowd.report.recorder import Recorder

log = get_logger()


@dataclass(frozen=True)
class SiteStatus:
    """Whether the site is closed, for ``status.json``; times are seconds since the epoch.

    Attributes:
        maintenance_at, maintenance_by: since when it is in maintenance, and the owner of the file; None if it is not.
        pause_at, pause_seconds: since when requests wait, and how long each at most; None if they do not.
    """

    maintenance_at: float | None = None
    maintenance_by: str | None = None
    pause_at: float | None = None
    pause_seconds: float | None = None


class SiteAdmission:
    """The part of the agent that closes, pauses and opens the site as its files request.

    Args:
        config: has the paths of the files, and the rules for maintenance.
        proxies: are closed and opened.
        recorder: writes the journal.
        now: returns seconds since the epoch.
        is_silent: see the attribute.

    Attributes:
        files: read the files.
        status: whether the site is closed.
        is_silent: whether changes are not written to the journal, because another agent writes it.
    """

    def __init__(
        self,
        config: Config,
        proxies: Proxies,
        recorder: Recorder,
        now: Callable[[], float],
        *,
        is_silent: bool,
    ) -> None:
        self.files = SiteFiles(config, self._apply)
        self.status = SiteStatus()
        self.is_silent = is_silent
        self._rules = config.maintenance
        self._proxies = proxies
        self._recorder = recorder
        self._now = now

    def read(self) -> None:
        """Apply what the files say now, before the first request."""
        self.files.compare({path: find_file(path) for path in self.files.paths}, trio.current_time())

    def _apply(self, state: SiteState) -> None:
        before, file = self.status, state.maintenance
        maintenance = None
        if file is not None and self._rules is not None:
            maintenance = Maintenance(file.content, self._rules.retry_after, self._rules.allow)
        self.status = self._next_status(state)
        self._recorder.status_changed()
        self._proxies.set_site(maintenance, state.pause_seconds, state.error_pages)
        if (before.maintenance_at is None) is not (self.status.maintenance_at is None):
            self._record_maintenance(by=file.by if file is not None else None, is_on=file is not None)
        if before.pause_seconds != state.pause_seconds:
            event = "new requests wait" if state.pause_seconds is not None else "new requests are served again"
            log.info(event, seconds_at_most=state.pause_seconds)

    def _next_status(self, state: SiteState) -> SiteStatus:
        before, now = self.status, self._now()
        maintenance_at = (before.maintenance_at or now) if state.maintenance is not None else None
        pause_at = (before.pause_at or now) if state.pause_seconds is not None else None
        by = state.maintenance.by if state.maintenance is not None else None
        return SiteStatus(maintenance_at, by, pause_at, state.pause_seconds)

    def _record_maintenance(self, *, by: str | None, is_on: bool) -> None:
        log.info("maintenance begins" if is_on else "maintenance ends", by=by)
        if not self.is_silent:
            self._recorder.record("agent.maintenance", on=is_on, by=by)
