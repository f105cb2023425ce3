"""The agent: nested nurseries and the wiring between the two flows, nothing else.

The tasks end in the reverse order of their start::

    reporting          the journal and status.json: outlives everything that records events
    └ signals          a second TERM cancels everything that still runs
      ├ deploying      until another agent deploys, see ``upgrade``
      │ └ lives        every generation; ends by reaping, or by handing all of them over to that agent
      │   ├ supervise  one deploy at a time
      │   ├ calls      deploys that are requested over the API, or by a fleet
      │   └ intake     watches the link and the trigger file
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
from rainbowd.agent.background import reap_repeatedly
from rainbowd.agent.fleet_membership import FleetMembership
from rainbowd.agent.proxy_settings import proxy_settings
from rainbowd.agent.signals import HANDLED_SIGNALS, handle_signals
from rainbowd.agent.site_admission import SiteAdmission
from rainbowd.agent.status import StatusPublisher, app_name
from rainbowd.agent.upgrade import AgentUpgrade, serve_on_trial
from rainbowd.deploy.generations.ownership import Ownership
from rainbowd.deploy.service import DeployService
from rainbowd.hangup import Hangup
from rainbowd.log import get_logger
from rainbowd.proxy import Server
from rainbowd.roster import Roster
from rainbowd.upgrade import Predecessors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rainbowd.agent.state_dir_guard import StateDirGuard
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
        listeners: of the proxy; open, and connections may wait in their queues.
        lock: of the state directory.
        base: the config file's directory.
        early_signals: signals that arrived before the agent could handle them.
        api: the API and its listener, if it is enabled.
        old_agent: connects this agent's roster to the old agent of an upgrade; None for a start without one.
        soft_limit, hangup: the limit of open files when the first agent was started, and what SIGHUP means.
        directory: in which the agent was started, and in which its new agents start.
        guard: restores the state directory.
    """

    def __init__(
        self,
        config: Config,
        host: Host,
        recorder: Recorder,
        listeners: Sequence[Listener],
        lock: Lock,
        *,
        base: Path,
        early_signals: Sequence[int] = (),
        api: tuple[ApiService, Listener] | None = None,
        old_agent: Callable[[Roster], ReplacedAgent] | None = None,
        soft_limit: int = 0,
        hangup: Hangup | None = None,
        directory: Path | None = None,
        guard: StateDirGuard | None = None,
    ) -> None:
        self._hangup = hangup or Hangup()
        self._config = config
        self._guard = guard
        self._recorder = recorder
        self._listeners = listeners
        self._lock = lock
        self._early_signals = early_signals
        self._api = api
        self._stop = trio.Event()
        self._serving = trio.CancelScope()
        self._deferred_signals: list[int] | None = None
        self._roster = Roster()
        self._server = Server(self._roster, proxy_settings(config))
        self._predecessors = Predecessors(config.state_dir, self._roster)
        self._old_agent = old_agent(self._roster) if old_agent is not None else None
        is_upgrade = self._old_agent is not None
        self._site = SiteAdmission(config, self._server, recorder, host.now, is_silent=is_upgrade)
        self._new_deploys = partial(
            DeployService,
            self._roster,
            recorder,
            host,
            config,
            base=base,
            on_switch=self._on_switch,
            site_files=self._site.files,
        )
        self._deploys = self._new_deploys(ownership=Ownership(is_complete=not is_upgrade), is_handed_over=is_upgrade)
        self._fleet = FleetMembership(config, self._roster, host, recorder, self._roster.notify_observers)
        self._status = StatusPublisher(
            self._roster,
            recorder,
            listeners,
            lambda: self._deploys.supervisor,
            self._fleet.status,
            name=app_name(config.name, base),
            started_at=host.now(),
            is_silent=is_upgrade,
            site=lambda: self._site.status,
        )
        self._shared = [*(("proxy", one) for one in listeners), *([("api", api[1])] if api else [])]
        self._upgrade = AgentUpgrade(
            self._roster,
            recorder,
            lock,
            self._shared,
            state_dir=config.state_dir,
            soft_limit=soft_limit,
            hangup=self._hangup,
            directory=directory or base,
        )

    async def run(self) -> None:
        """Run everything, from the first line of the journal to the last."""
        async with trio.open_nursery() as reporting:
            await reporting.start(self._recorder.run)
            reporting.start_soon(self._status.systemd.run)
            if self._guard is not None:
                reporting.start_soon(self._guard.run, self._status.publish)
            if self._old_agent is None:
                addresses = self._status.addresses
                self._recorder.record("agent.started", version=__version__, pid=os.getpid(), listen=addresses)
            try:
                with trio.open_signal_receiver(*HANDLED_SIGNALS) as received:
                    async with trio.open_nursery() as signals:
                        signals.start_soon(handle_signals, self._early_signals, received, self._hangup, self._on_signal)
                        await self._deploy_and_serve()
                        signals.cancel_scope.cancel()
            finally:
                if not self._status.is_silent:
                    self._recorder.record("agent.stopped")
                    self._status.publish()
                reporting.cancel_scope.cancel()

    async def _deploy_and_serve(self) -> None:
        """Deploy and serve until a stop is requested; then finish the requests, and after them the generations."""
        async with trio.open_nursery() as nursery:
            self._site.read()
            self._roster.observe(self._status.publish)
            if self._old_agent is None:
                self._predecessors.find(nursery)
            nursery.start_soon(self._deploy)
            nursery.start_soon(self._status.publish_counters)
            nursery.start_soon(reap_repeatedly)
            if self._old_agent is not None:
                await self._deploys.supervisor.started.wait()  # the old agent serves until now
            if self._api is not None:
                nursery.start_soon(self._serve_api, *self._api)
            with self._serving:
                async with trio.open_nursery() as serving:
                    await serving.start(self._server.serve, self._listeners, self._stop, self._config.drain.stop)
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
        await old_agent.ready({listener.sock.fileno() for _, listener in self._shared})
        self._deploys.supervisor.ownership.complete()
        self._predecessors.add(old_agent.offer.pid, old_agent, nursery)
        self._status.is_silent = self._site.is_silent = False
        for _, listener in self._shared:
            listener.is_shared = False
        self._recorder.record(
            "agent.upgraded",
            version=__version__,
            pid=os.getpid(),
            listen=self._status.addresses,
            predecessor={"pid": old_agent.offer.pid, "version": old_agent.offer.version},
        )

    async def _wait_for_predecessors(self) -> None:
        """Wait for old agents, which have requests on our generations; if this agent stops, they stop too."""
        with trio.move_on_after(math.inf if self._upgrade.is_done else self._config.drain.stop):
            await self._predecessors.until_gone()

    async def _deploy(self) -> None:
        """Deploy until a stop is requested, or until a new agent deploys; if an upgrade fails, continue unchanged."""
        while True:
            with trio.CancelScope() as scope:
                async with contextlib.AsyncExitStack() as upgrade:
                    async with trio.open_nursery() as lives:
                        self._deploys.start(lives)
                        lives.start_soon(self._fleet.run, self._deploys)
                        new_agent = await self._upgrade.prepare(self._deploys, upgrade)
                        scope.shield = True  # until it is decided who owns the generations: each wait has a timeout
                        self._deferred_signals = []
                        self._status.is_silent = True
                        self._deploys.supervisor.hand_over()
                        lives.cancel_scope.cancel()
                    is_upgraded = await self._upgrade.hand_over(new_agent)
                    self._continue(new_agent, is_upgraded=is_upgraded)
            if is_upgraded:
                await self._upgrade.drain(new_agent, self._server, self._predecessors)

    def _continue(self, new_agent: NewAgent, *, is_upgraded: bool) -> None:
        """Finish the requests in flight for the new agent; or be the agent again, if the upgrade failed."""
        if is_upgraded:
            self._status.systemd.hand_over(new_agent.pid)
            self._upgrade.forward_request()
            self._server.hand_over(self._deploys.supervisor.config.drain)
            self._stop.set()
            if self._status.state == "stopping":  # a stop was requested after the handover had begun
                self._upgrade.forward_signal(signal.SIGTERM)
        else:
            self._status.is_silent = False
            self._deploys = self._new_deploys(ownership=Ownership(), is_handed_over=True)
        deferred, self._deferred_signals = self._deferred_signals or [], None
        for signum in deferred:
            self._on_signal(signum)

    def _on_switch(self, config: Config) -> None:
        self._server.configure(proxy_settings(config))

    async def _serve_api(self, api: ApiService, listener: Listener) -> None:
        """Serve the API until a stop is requested, then free its address."""
        from rainbowd.agent.api_backend import make_api_backend  # noqa: PLC0415 - loaded only if the API is enabled

        backend = make_api_backend(
            state_dir=self._config.state_dir,
            deploys=lambda: self._deploys,
            recorder=self._recorder,
            roster=self._roster,
            server=self._server,
            status=self._status.status,
        )
        await api.run(backend, self._deploys.supervisor.started, self._stop)
        listener.close()

    def _on_signal(self, signum: int) -> None:
        """Deploy on HUP, upgrade on USR2, stop on TERM or INT; on the second of those wait only for the reaping."""
        if signum in {signal.SIGHUP, signal.SIGUSR2}:
            self._request(signum)
        elif self._status.state != "stopping":
            at_most = self._config.drain.stop + self._deploys.supervisor.config.drain.kill_after
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
        self._status.stopping(self._config.drain.stop, self._deploys.supervisor.config.drain.kill_after)
        self._fleet.stop()
        self._deploys.stop()
        self._predecessors.stop(self._config.drain.stop)
        if self._upgrade.is_done:
            self._server.stop(self._config.drain.stop)
        else:
            self._stop.set()
