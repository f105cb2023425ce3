"""The proxy of the agent, and those of its workers, as one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from rainbowd.agent.proxy_settings import proxy_settings
from rainbowd.proxy import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rainbowd.config import Config, Drain
    from rainbowd.listeners import Listener
    from rainbowd.proxy import Maintenance
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster
    from rainbowd.workers.pool import Workers

AUTO_MAX = 8
"""How many processes ``"workers": "auto"`` starts at most."""


class Proxies:
    """All processes that serve requests: this one, and the workers if there are any.

    Args:
        config: has the settings and the number of processes.
        roster: of the agent.
        recorder: writes the journal.

    Attributes:
        server: the proxy in this process.
        workers: the other processes; None if there are none.
    """

    def __init__(self, config: Config, roster: Roster, recorder: Recorder) -> None:
        self.server = Server(roster, proxy_settings(config))
        self.workers: Workers | None = None
        self._rules: Drain | None = None
        processes = count_processes(config.workers)
        if processes > 1:
            from rainbowd.workers.pool import Workers  # noqa: PLC0415 - loaded only if there are workers

            self.workers = Workers(processes, roster, self.server, recorder, config.log)

    async def serve(
        self,
        listeners: Sequence[Listener],
        stop: trio.Event,
        stop_seconds: float,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve in all processes until ``stop`` is set, and finish: see ``Server.serve``."""
        if self.workers is None:
            await self.server.serve(listeners, stop, stop_seconds, task_status=task_status)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.workers.run, listeners)
            nursery.start_soon(self._end_workers, self.workers, stop, stop_seconds)
            await self.server.serve(listeners, stop, stop_seconds, task_status=task_status)

    async def _end_workers(self, workers: Workers, stop: trio.Event, stop_seconds: float) -> None:
        await stop.wait()
        if self._rules is None:
            workers.stop(stop_seconds)
        else:
            workers.hand_over(self._rules)

    def configure(self, config: Config) -> None:
        """Serve new requests with the settings in ``config``."""
        settings = proxy_settings(config)
        self.server.configure(settings)
        if self.workers is not None:
            self.workers.configure(settings)

    def set_site(
        self, maintenance: Maintenance | None, pause_seconds: float | None, pages: Mapping[int, bytes]
    ) -> None:
        """Close or open the site, and use these error pages."""
        if self.workers is not None:
            self.workers.set_site(maintenance, pause_seconds, pages)
        context = self.server.context
        context.error_pages.pages = pages
        context.admission.set(maintenance, pause_seconds)  # which notifies the observers of the roster

    def hand_over(self, rules: Drain) -> None:
        """Finish as the old agent of an upgrade, once the caller has set ``stop``: see ``Server.hand_over``."""
        self._rules = rules
        self.server.hand_over(rules)

    def stop(self, seconds: float) -> None:
        """Finish the requests in flight within ``seconds``: see ``Server.stop``."""
        self.server.stop(seconds)
        if self.workers is not None:
            self.workers.stop(seconds)

    def close_idle(self) -> None:
        """Close the connections that are between two requests."""
        self.server.close_idle()
        if self.workers is not None:
            self.workers.close_idle()


def count_processes(workers: int | str) -> int:
    """Return how many processes serve requests.

    Args:
        workers: the config's key of this name.
    """
    if isinstance(workers, int):
        return workers
    return max(1, min(AUTO_MAX, len(os.sched_getaffinity(0))))
