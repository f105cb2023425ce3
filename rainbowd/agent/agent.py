"""The agent: nested nurseries and the wiring between the two flows, nothing else.

The tasks end in the reverse order of their start::

    reporting          the journal and status.json: outlives everything that records events
    └ signals          a second TERM cancels everything that still runs
      ├ deploying      until another agent deploys, see ``upgrade``
      │ └ lives        every generation; ends by reaping, or by handing all of them over to that agent
      │   ├ deploys    the supervisor, the deploys of the API or a fleet, and the watcher: ``DeployService``
      │   └ fleet      the member of a fleet, if one is configured
      ├ api            if it is enabled
      └ serving        listeners, then connections, for drain.stop at most: the first to end
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.agent.fleet_membership import FleetMembership
from rainbowd.agent.maintenance import SiteAdmission
from rainbowd.agent.orphan_reaper import reap_repeatedly
from rainbowd.agent.proxies import Proxies
from rainbowd.agent.signals import HANDLED_SIGNALS, handle_signals
from rainbowd.agent.status import AgentEntry, StatusPublisher, app_name
from rainbowd.agent.upgrade import AgentUpgrade, serve_on_trial
from rainbowd.deploy.generations.agent_ownership import Ownership
from rainbowd.deploy.service import DeployService
from rainbowd.log import get_logger
from rainbowd.roster import Roster
from rainbowd.upgrade import Predecessors

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.agent.start import AgentListeners, AgentStart
    from rainbowd.api.service import ApiService
    from rainbowd.config import Config
    from rainbowd.deploy.interfaces import Host
    from rainbowd.listeners import Listener
    from rainbowd.report.lock import Lock
    from rainbowd.report.recorder import Recorder
    from rainbowd.upgrade import NewAgent, ReplacedAgent

log = get_logger()


class Agent:
    """One run of the agent.

    Args:
        config: the config as it was at the start.
        host: does what the supervisor decides.
        recorder: writes the journal, ``status.json`` and the records of generations.
        lock: of the state directory.
        listeners: open, and connections may wait in their queues.
        start: how the agent was started.
    """

    def __init__(
        self,
        config: Config,
        host: Host,
        recorder: Recorder,
        lock: Lock,
        *,
        listeners: AgentListeners,
        start: AgentStart,
    ) -> None:
        self._config = config
        self._recorder = recorder
        self._lock = lock
        self._listeners = listeners
        self._start = start
        self._stop = trio.Event()
        self._serving = trio.CancelScope()
        self._deferred_signals: list[int] | None = None
        self._roster = Roster()
        self._proxies = Proxies(config, self._roster, recorder)
        self._predecessors = Predecessors(config.state_dir, self._roster)
        self._old_agent = start.old_agent(self._roster) if start.old_agent is not None else None
        is_upgrade = self._old_agent is not None
        self._site = SiteAdmission(config, self._proxies, recorder, host.now, is_silent=is_upgrade)
        self._deploys = DeployService(self._roster, recorder, host, config, base=start.base, on_switch=self._on_switch)
        self._fleet = FleetMembership(config, recorder.status_changed)
        self._status = StatusPublisher(
            self._roster,
            recorder,
            self._deploys,
            AgentEntry(app_name(config.name, start.base), listeners.addresses, host.now()),
            fleet=None if config.fleet is None else self._fleet,
            site=self._site,
        )
        self._status.is_silent = is_upgrade
        if self._proxies.workers is not None:
            self._status.workers = self._proxies.workers.entries
        self._upgrade = AgentUpgrade(self._roster, recorder, lock, listeners, start, state_dir=config.state_dir)

    async def run(self) -> None:
        """Run everything, from the first line of the journal to the last."""
        async with trio.open_nursery() as reporting:
            await reporting.start(self._recorder.run)
            reporting.start_soon(self._status.systemd.run)
            if self._start.guard is not None:
                self._start.guard.also(self._fleet.store_again)
                reporting.start_soon(self._start.guard.run, self._status.changed)
            if self._old_agent is None:
                addresses = self._listeners.addresses
                self._recorder.record("agent.started", version=__version__, pid=os.getpid(), listen=addresses)
            try:
                with trio.open_signal_receiver(*HANDLED_SIGNALS) as received:
                    async with trio.open_nursery() as signals:
                        early, hangup = self._start.early_signals, self._start.hangup
                        handling = partial(handle_signals, early, received, hangup, self._on_signal)
                        await self._deploy_and_serve(partial(signals.start_soon, handling))
                        signals.cancel_scope.cancel()
            finally:
                if not self._status.is_silent:
                    self._recorder.record("agent.stopped")
                reporting.cancel_scope.cancel()

    async def _deploy_and_serve(self, handle_signals: Callable[[], None]) -> None:
        """Deploy and serve until a stop is requested; then finish the requests, and after them the generations.

        Args:
            handle_signals: starts to handle signals, some of which request a deploy.
        """
        async with trio.open_nursery() as nursery:
            self._site.read()
            if self._old_agent is None:
                self._predecessors.find(nursery)
            await nursery.start(self._deploy)
            handle_signals()
            self._status.start(nursery)
            nursery.start_soon(reap_repeatedly)
            if self._old_agent is not None:
                await self._deploys.supervisor.started.wait()  # the old agent serves until now
            if self._listeners.api is not None:
                nursery.start_soon(self._serve_api, *self._listeners.api)
            with self._serving:
                async with trio.open_nursery() as serving:
                    await serving.start(self._proxies.serve, self._listeners.proxy, self._stop, self._config.drain.stop)
                    if self._old_agent is not None:
                        await self._take_over(self._old_agent, nursery)
                    self._status.ready()
                await self._wait_for_predecessors()
            self._upgrade.close()
            nursery.cancel_scope.cancel()

    async def _take_over(self, old_agent: ReplacedAgent, nursery: trio.Nursery) -> None:
        """Become the agent, after a while in which both agents accept connections and nothing failed."""
        await serve_on_trial()
        self._lock.claim()
        await old_agent.ready({listener.sock.fileno() for _, listener in self._listeners.shared})
        self._deploys.supervisor.ownership.complete()
        self._predecessors.add(old_agent.offer.pid, old_agent, nursery)
        self._status.resume()
        self._site.is_silent = False
        for _, listener in self._listeners.shared:
            listener.is_shared = False
        self._recorder.record(
            "agent.upgraded",
            version=__version__,
            pid=os.getpid(),
            listen=self._listeners.addresses,
            predecessor={"pid": old_agent.offer.pid, "version": old_agent.offer.version},
        )

    async def _wait_for_predecessors(self) -> None:
        """Wait for old agents, which have requests on our generations; if this agent stops, they stop too."""
        with trio.move_on_after(math.inf if self._upgrade.is_done else self._config.drain.stop):
            await self._predecessors.until_gone()

    async def _deploy(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Deploy until a stop is requested, or until a new agent deploys; if an upgrade fails, continue unchanged."""
        is_upgrade, is_first = self._old_agent is not None, True
        while True:
            with trio.CancelScope() as scope:
                async with contextlib.AsyncExitStack() as upgrade:
                    async with trio.open_nursery() as lives:
                        ownership = Ownership(is_complete=not (is_first and is_upgrade))
                        is_handed_over = is_upgrade or not is_first
                        self._deploys.start(
                            lives, ownership=ownership, is_handed_over=is_handed_over, site_files=self._site.files
                        )
                        lives.start_soon(self._fleet.run, self._deploys)
                        if is_first:
                            task_status.started()
                        else:
                            self._replay_signals()
                        new_agent = await self._upgrade.prepare(self._deploys, upgrade)
                        scope.shield = True  # until it is decided who owns the generations: each wait has a timeout
                        self._deferred_signals, is_first = [], False
                        self._status.silence()
                        self._deploys.supervisor.hand_over()
                        lives.cancel_scope.cancel()
                    is_upgraded = await self._upgrade.hand_over(new_agent)
                    if is_upgraded:
                        self._end_for(new_agent)
                    else:
                        self._status.resume()
            if is_upgraded:
                await self._upgrade.drain(new_agent, self._proxies, self._predecessors)

    def _end_for(self, new_agent: NewAgent) -> None:
        """Finish the requests in flight for the new agent."""
        self._status.systemd.hand_over(new_agent.pid)
        self._upgrade.forward_request()
        self._proxies.hand_over(self._deploys.supervisor.config.drain)
        self._stop.set()
        if self._status.state == "stopping":  # a stop was requested after the handover had begun
            self._upgrade.forward_signal(signal.SIGTERM)
        self._replay_signals()

    def _replay_signals(self) -> None:
        """Handle the signals that arrived during a handover, now that it is decided which agent they are for."""
        deferred, self._deferred_signals = self._deferred_signals or [], None
        for signum in deferred:
            self._on_signal(signum)

    def _on_switch(self, config: Config) -> None:
        self._proxies.configure(config)

    async def _serve_api(self, api: ApiService, listener: Listener) -> None:
        """Serve the API until a stop is requested, then free its address."""
        from rainbowd.agent.api_backend import make_api_backend  # noqa: PLC0415 - loaded only if the API is enabled

        backend = make_api_backend(
            state_dir=self._config.state_dir,
            deploys=self._deploys,
            recorder=self._recorder,
            roster=self._roster,
            proxies=self._proxies,
            status=self._status.status,
        )
        await api.run(backend, self._deploys.supervisor.started, self._stop)
        listener.close()

    def _on_signal(self, signum: int) -> None:
        """Deploy on HUP, upgrade on USR2, stop on TERM or INT; on the second of those wait only for the reaping."""
        if signum in {signal.SIGHUP, signal.SIGUSR2}:
            self._request(signum)
        elif self._status.state != "stopping":
            at_most = self._config.drain.stop + self._deploys.supervisor.kill_after_seconds
            log.info("stopping", signal=signal.Signals(signum).name, seconds_at_most=at_most)
            self._begin_stop()
        else:
            log.warning("stopping at once", signal=signal.Signals(signum).name)
            self._deploys.supervisor.stop_now()
            self._serving.cancel()

    def _request(self, signum: int) -> None:
        """Request a deploy or an upgrade of the agent; during a handover, once it is decided which agent that is."""
        if self._deferred_signals is not None:
            self._deferred_signals.append(signum)
        elif self._upgrade.is_done:
            self._upgrade.forward_signal(signum)
        elif signum == signal.SIGHUP:
            self._deploys.signal()
        else:
            self._upgrade.request()

    def _begin_stop(self) -> None:
        self._status.stopping(self._config.drain.stop, self._deploys.supervisor.kill_after_seconds)
        self._fleet.stop()
        self._deploys.stop()
        self._predecessors.stop(self._config.drain.stop)
        if self._upgrade.is_done:
            self._proxies.stop(self._config.drain.stop)
        else:
            self._stop.set()
