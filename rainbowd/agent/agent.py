"""The agent: nested nurseries and the wiring between the two flows, nothing else.

What is opened first ends last::

    reporting          the journal and status.json: outlives all that is told there
    └ signals          a second TERM hurries whatever still goes on
      ├ deploying      until another agent does, see ``upgrade``
      │ └ lives        every generation; ends by reaping, or by leaving all of it to that agent
      │   ├ supervise  one deploy at a time
      │   ├ calls      deploys that the API asks for
      │   └ intake     watch
      ├ api            where it is enabled
      └ serve          listeners, then connections, for drain.stop at the most: the first to end
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import signal
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.agent.status import StatusPublisher, app_name
from rainbowd.agent.upgrade import AgentUpgrade
from rainbowd.deploy.generations.ownership import Ownership
from rainbowd.deploy.process import reap_orphans
from rainbowd.deploy.service import DeployService
from rainbowd.hangup import Hangup
from rainbowd.log import get_logger, load
from rainbowd.proxy import ProxySettings, Server
from rainbowd.roster import Roster
from rainbowd.upgrade import DrainingAgent, Predecessors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from rainbowd.agent.state_dir_guard import Keeping
    from rainbowd.api.service import ApiService
    from rainbowd.config import Config
    from rainbowd.deploy.interfaces import Host
    from rainbowd.listeners import Listener
    from rainbowd.report.lock import Lock
    from rainbowd.report.recorder import Recorder
    from rainbowd.upgrade import NewAgent, ReplacedAgent

HEEDED = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)

TRIAL_SECONDS = 1.1
"""How long a new agent serves beside the one before until it says that it is ready: by then it has done all it does."""

_REAP_SECONDS = 1.0
_SILENT_SECONDS = 1.0
"""How long the log may wait for the adoption."""
_BURST_SECONDS = 0.3
"""For the requests that have waited for it, which come before the log, too."""

log = get_logger()


class Agent:
    """One run of the agent.

    Args:
        config: as the file was at the start.
        world: what the supervisor does to the machine.
        recorder: to which the world tells things too.
        listeners: open, with requests perhaps waiting in their queues.
        lock: of the state directory.
        early: signals that came before the agent could heed them.
        base: the config file's directory.
        api: where it is enabled, with its listener.
        incoming: makes of our roster what joins it to the agent that we take the place of; None where there is none.
        soft_limit: of open files, as the first agent was started with.
        hangup: what HUP means.
        directory: where the agent was started, for the program of its successor.
        keeping: of the state directory.
    """

    def __init__(
        self,
        config: Config,
        world: Host,
        recorder: Recorder,
        listeners: Sequence[Listener],
        lock: Lock,
        *,
        base: Path,
        early: Sequence[int] = (),
        api: tuple[ApiService, Listener] | None = None,
        incoming: Callable[[Roster], ReplacedAgent] | None = None,
        soft_limit: int = 0,
        hangup: Hangup | None = None,
        directory: Path | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self._hangup = hangup or Hangup()
        self._config = config
        self._keeping = keeping
        self._world = world
        self._recorder = recorder
        self._listeners = listeners
        self._lock = lock
        self._base = base
        self._early = early
        self._api = api
        self._stop = trio.Event()
        self._serving = trio.CancelScope()
        self._late: list[int] | None = None
        self._roster = Roster()
        self._server = Server(self._roster, settings(config))
        self._before = Predecessors(config.state_dir, self._roster)
        self._incoming = incoming(self._roster) if incoming is not None else None
        is_new = incoming is None
        self._deploys = self._new_deploys(Ownership(is_complete=is_new), is_handed_over=not is_new)
        self._telling = StatusPublisher(
            self._roster,
            recorder,
            listeners,
            lambda: self._deploys.supervisor,
            name=app_name(config.name, base),
            started_at=world.now(),
            is_silent=not is_new,
        )
        self._shared = [*(("proxy", one) for one in listeners), *([("api", api[1])] if api else [])]
        self._upgrading = AgentUpgrade(
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
        """Everything, from the first line of the journal to the last."""
        async with trio.open_nursery() as reporting:
            await reporting.start(self._recorder.run)
            reporting.start_soon(self._telling.notices.run)
            if self._keeping is not None:
                reporting.start_soon(self._keeping.run, self._telling.publish)
            reporting.start_soon(self._load_log)
            if self._incoming is None:
                self._recorder.record(
                    "agent.started", version=__version__, pid=os.getpid(), listen=self._telling.addresses
                )
            try:
                with trio.open_signal_receiver(*HEEDED) as signals:
                    async with trio.open_nursery() as beside:
                        beside.start_soon(self._obey, signals)
                        await self._live()
                        beside.cancel_scope.cancel()
            finally:
                if not self._telling.is_silent:
                    self._recorder.record("agent.stopped")
                    self._telling.publish()
                reporting.cancel_scope.cancel()

    async def _load_log(self) -> None:
        """Load what the log goes through when what is live takes traffic again, which that would delay."""
        with trio.move_on_after(_SILENT_SECONDS):
            await self._deploys.supervisor.started.wait()
            await trio.sleep(_BURST_SECONDS)
        try:
            await trio.to_thread.run_sync(load)
        except Exception as broken:  # noqa: BLE001 - what was adopted serves on, whatever became of what is installed
            log.error("structlog cannot be loaded", why=str(broken), hint="install rainbowd again, then upgrade it")
        gc.freeze()  # as ``proxy.garbage`` did with what was there before

    async def _live(self) -> None:
        """Deploy and serve until told to stop; then finish requests first, and generations behind them."""
        async with trio.open_nursery() as beneath:
            self._roster.observe(self._telling.publish)
            if self._incoming is None:
                self._before.look(beneath)
            beneath.start_soon(self._deploy)
            beneath.start_soon(self._telling.publish_counters)
            beneath.start_soon(self._reap)
            if self._incoming is not None:
                await self._deploys.supervisor.started.wait()  # until now the agent before us serves
            if self._api is not None:
                beneath.start_soon(self._control, *self._api)
            with self._serving:
                async with trio.open_nursery() as serving:
                    await serving.start(self._server.serve, self._listeners, self._stop, self._config.drain.stop)
                    if self._incoming is not None:
                        await self._succeed(self._incoming, beneath)
                    self._telling.ready()
                await self._outlive()
            self._upgrading.close()
            beneath.cancel_scope.cancel()

    # --- the agent before us --------------------------------------------------------------------------------------

    async def _succeed(self, incoming: ReplacedAgent, beneath: trio.Nursery) -> None:
        """We accept, as it still does: be the agent, when that has gone well for a while."""
        await serve_on_trial()
        self._lock.claim()
        await incoming.ready({listener.sock.fileno() for _, listener in self._shared})
        self._deploys.supervisor.ownership.complete()
        self._before.add(incoming.offer.pid, incoming, beneath)
        self._telling.is_silent = False
        for _, listener in self._shared:
            listener.is_shared = False
        self._recorder.record(
            "agent.upgraded",
            version=__version__,
            pid=os.getpid(),
            listen=self._telling.addresses,
            predecessor={"pid": incoming.offer.pid, "version": incoming.offer.version},
        )

    async def _outlive(self) -> None:
        """Those before us have requests on our generations; where we stop, they were told to hurry."""
        with trio.move_on_after(math.inf if self._upgrading.is_over else self._config.drain.stop):
            await self._before.until_gone()

    # --- deploying ------------------------------------------------------------------------------------------------

    async def _deploy(self) -> None:
        """Deploy until told to stop, or until a new agent does; where that fails, go on as if nothing had been."""
        while True:
            with trio.CancelScope() as scope:
                async with contextlib.AsyncExitStack() as upgrade:
                    async with trio.open_nursery() as lives:
                        self._deploys.start(lives)
                        program = await self._upgrading.prepare(self._deploys, upgrade)
                        scope.shield = True  # until it is decided who looks after what is left now: bounded by times
                        self._late = []
                        self._telling.is_silent = True
                        self._deploys.supervisor.hand_over()
                        lives.cancel_scope.cancel()
                    is_upgraded = await self._upgrading.hand_over(program)
                    self._go_on(program, is_upgraded=is_upgraded)
            if is_upgraded:
                assert self._upgrading.meeting is not None
                server, meeting = self._server, self._upgrading.meeting
                self._before.below = meeting.number
                outgoing = DrainingAgent(
                    program.link, meeting, self._roster, on_stop=server.stop, on_alone=server.close_idle
                )
                await outgoing.run()

    def _go_on(self, program: NewAgent, *, is_upgraded: bool) -> None:
        """Finish what is here for the new agent; or be the agent again."""
        if is_upgraded:
            self._telling.notices.hand_over(program.pid)
            self._upgrading.pass_on_ask()
            self._server.hand_over(self._deploys.supervisor.drain)
            self._stop.set()
            if self._telling.state == "stopping":  # told so when it was too late for us
                self._upgrading.pass_on(signal.SIGTERM)
        else:
            self._telling.is_silent = False
            self._deploys = self._new_deploys(Ownership(), is_handed_over=True)
        late, self._late = self._late or [], None
        for signum in late:
            self._heed(signum)

    def _new_deploys(self, ownership: Ownership, *, is_handed_over: bool) -> DeployService:
        return DeployService(
            self._roster,
            self._recorder,
            self._world,
            self._config,
            base=self._base,
            on_switch=self._on_switch,
            ownership=ownership,
            is_handed_over=is_handed_over,
        )

    def _on_switch(self, config: Config) -> None:
        self._server.settings = settings(config)

    async def _reap(self) -> None:
        """Reap what apps leave behind while they live: as the subreaper we are the parent of their orphans."""
        while True:
            await trio.sleep(_REAP_SECONDS)
            await trio.to_thread.run_sync(reap_orphans)

    async def _control(self, api: ApiService, listener: Listener) -> None:
        """Let the API ask for what the files can ask for, until told to stop; then its address is free for others."""
        from rainbowd.agent.api_backend import make_api_backend  # noqa: PLC0415 - nothing of it is loaded where it is off

        controls = make_api_backend(
            state_dir=self._config.state_dir,
            deploys=lambda: self._deploys,
            recorder=self._recorder,
            roster=self._roster,
            server=self._server,
            status=self._telling.status,
        )
        await api.run(controls, self._deploys.supervisor.started, self._stop)
        listener.close()

    # --- signals --------------------------------------------------------------------------------------------------

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as hangups:
            for signum in self._early:
                self._receive(signum, hangups)
            async for signum in signals:
                self._receive(signum, hangups)

    def _receive(self, signum: int, hangups: trio.Nursery) -> None:
        if signum != signal.SIGHUP:
            self._heed(signum)
        elif self._hangup.is_ignored:
            log.info("HUP is ignored, as it was when rainbowd was started")
        elif self._hangup.had_terminal:
            hangups.start_soon(self._hang_up)
        else:
            self._heed(signum)

    async def _hang_up(self) -> None:
        """Stop if the terminal was closed, else deploy."""
        if await self._hangup.is_from_closed_terminal():
            log.info("the terminal was closed")
            self._heed(signal.SIGTERM)
        else:
            self._heed(signal.SIGHUP)

    def _heed(self, signum: int) -> None:
        """HUP deploys, USR2 upgrades; TERM or INT stops; a second one does not wait for anything but the reaping."""
        if signum in {signal.SIGHUP, signal.SIGUSR2}:
            self._ask(signum)
        elif self._telling.state != "stopping":
            log.info("stopping", signal=signal.Signals(signum).name, seconds_at_most=self._config.drain.stop)
            self._wind_down()
        else:
            log.warning("stopping at once", signal=signal.Signals(signum).name)
            self._deploys.supervisor.stop_now()
            self._serving.cancel()

    def _ask(self, signum: int) -> None:
        """For a deploy or an upgrade; who is the agent has to be known for that."""
        if self._late is not None:
            self._late.append(signum)
        elif self._upgrading.is_over:
            self._upgrading.pass_on(signum)
        elif signum == signal.SIGHUP:
            self._deploys.signal()
        else:
            self._upgrading.ask()

    def _wind_down(self) -> None:
        self._telling.stopping(self._config.drain.stop, self._deploys.supervisor.drain.kill_after)
        self._deploys.stop()
        self._before.stop(self._config.drain.stop)
        if self._upgrading.is_over:
            self._server.stop(self._config.drain.stop)
        else:
            self._stop.set()


async def serve_on_trial() -> None:
    """Let a new agent serve next to the old one for ``TRIAL_SECONDS``, before it reports that it is ready."""
    await trio.sleep(TRIAL_SECONDS)


def settings(config: Config) -> ProxySettings:
    """What of the config the proxy serves by."""
    return ProxySettings(limits=config.limits, hold=config.hold, trust=config.trust, access=config.log.access)
