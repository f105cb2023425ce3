"""The agent: nested nurseries and the wiring between the two flows, nothing else.

What is opened first ends last::

    reporting        the journal and status.json: outlives all that is told there
    └ signals        a second TERM hurries whatever still goes on
      └ lives        every generation; ends by reaping
        ├ supervise  one deploy at a time
        ├ calls      deploys that the API asks for
        ├ intake     watch, and the API: the first to end
        └ serve      listeners, then connections, for drain.stop at the most
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.deploy.calls import Calls
from rainbowd.deploy.process import reap_orphans
from rainbowd.deploy.snapshot import snapshot, timestamp
from rainbowd.deploy.supervisor import Supervisor
from rainbowd.deploy.watch import Trigger, watch
from rainbowd.log import get_logger
from rainbowd.proxy import Server, Settings
from rainbowd.roster import Roster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.control.api import Api
    from rainbowd.deploy.seam import World
    from rainbowd.proxy import Listener
    from rainbowd.report.recorder import Recorder

HEEDED = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)

_COUNTERS_SECONDS = 1.0
"""How often ``status.json`` is written while only counters move."""

_REAP_SECONDS = 5.0
_WATCH_AGAIN_SECONDS = 1.0

log = get_logger()


class Agent:
    """One run of the agent.

    Args:
        config: as the file was at the start.
        world: what the supervisor does to the machine.
        recorder: to which the world tells things too.
        listeners: open, with requests perhaps waiting in their queues.
        early: signals that came before the agent could heed them.
        base: the config file's directory.
        api: where it is enabled.
    """

    def __init__(
        self,
        config: Config,
        world: World,
        recorder: Recorder,
        listeners: Sequence[Listener],
        early: Sequence[int] = (),
        *,
        base: Path,
        api: Api | None = None,
    ) -> None:
        self._config = config
        self._listeners = listeners
        self._early = early
        self._api = api
        self._state = "starting"
        self._started_at = world.now()
        self._stop = trio.Event()
        self._intake = trio.CancelScope()
        self._serving = trio.CancelScope()
        self._roster = Roster()
        self._recorder = recorder
        self._server = Server(self._roster, settings(config))
        self._supervisor = Supervisor(self._roster, self._recorder, world, config, self._on_switch)
        self._calls = Calls(self._supervisor, self._roster, config.release, base=base, state_dir=config.state_dir)

    async def run(self) -> None:
        """Everything, from the first line of the journal to the last."""
        async with trio.open_nursery() as reporting:
            await reporting.start(self._recorder.run)
            self._recorder.record("agent.started", version=__version__, pid=os.getpid(), listen=self._addresses())
            try:
                with trio.open_signal_receiver(*HEEDED) as signals:
                    async with trio.open_nursery() as beside:
                        beside.start_soon(self._obey, signals)
                        await self._live()
                        beside.cancel_scope.cancel()
            finally:
                self._recorder.record("agent.stopped")
                self._publish()
                reporting.cancel_scope.cancel()

    async def _live(self) -> None:
        """Deploy and serve until told to stop; then finish requests first, and generations behind them."""
        async with trio.open_nursery() as lives:
            self._roster.observe(self._publish)
            lives.start_soon(self._supervisor.run, lives)
            lives.start_soon(self._watch)
            lives.start_soon(self._calls.run)
            if self._api is not None:
                lives.start_soon(self._control, self._api)
            lives.start_soon(self._tell_counters)
            lives.start_soon(self._reap)
            with self._serving:
                async with trio.open_nursery() as serving:
                    await serving.start(self._server.serve, self._listeners, self._stop, self._config.drain.stop)
                    self._tell_ready()
            lives.cancel_scope.cancel()

    async def _watch(self) -> None:
        """Watch until told to stop; a bug there is said and got over, as traffic must go on."""
        supervisor = self._supervisor
        with self._intake:
            await supervisor.started.wait()
            while True:
                try:
                    await watch(
                        self._config.release, self._config.trigger_file, self._calls.report, seen=supervisor.seen
                    )
                except Exception as bug:
                    log.error("bug: watching broke", exc_info=bug)
                    supervisor.seen = None
                    await trio.sleep(_WATCH_AGAIN_SECONDS)

    async def _control(self, api: Api) -> None:
        """Let the API ask for what the files can ask for, until told to stop."""
        from rainbowd.control.seam import Controls  # noqa: PLC0415 - nothing of it is loaded where it is off

        controls = Controls(
            state_dir=self._config.state_dir,
            status=self._status,
            redeploy=self._calls.redeploy,
            rollback=self._calls.rollback,
            journal_written=lambda: self._recorder.written,
        )
        await self._supervisor.started.wait()
        await api.run(controls, self._stop)

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        for signum in self._early:
            self._heed(signum)
        async for signum in signals:
            self._heed(signum)

    def _heed(self, signum: int) -> None:
        """HUP deploys; TERM or INT stops; a second one does not wait for anything but the reaping."""
        if signum == signal.SIGHUP:
            self._supervisor.request(Trigger(kind="signal"))
        elif self._state != "stopping":
            log.info("stopping", signal=signal.Signals(signum).name, seconds_at_most=self._config.drain.stop)
            self._state = "stopping"
            self._intake.cancel()
            self._supervisor.stop()
            self._stop.set()
            self._publish()
        else:
            log.warning("stopping at once", signal=signal.Signals(signum).name)
            self._supervisor.hurry()
            self._serving.cancel()

    def _on_switch(self, config: Config) -> None:
        self._server.settings = settings(config)

    # --- what is told ---------------------------------------------------------------------------------------------

    def _tell_ready(self) -> None:
        if self._state == "starting":
            self._state = "ready"
        log.info("ready", version=__version__, pid=os.getpid(), listen=self._addresses())
        self._publish()

    async def _tell_counters(self) -> None:
        told: object = None
        while True:
            await trio.sleep(_COUNTERS_SECONDS)
            generations = self._roster.generations.values()
            counters = [(g.requests, len(g.holders), len(g.tunnels)) for g in generations]
            if counters != told:
                told = counters
                self._publish()

    async def _reap(self) -> None:
        """Reap what apps leave behind while they live: as the subreaper we are the parent of their orphans."""
        while True:
            await trio.sleep(_REAP_SECONDS)
            await trio.to_thread.run_sync(reap_orphans)

    def _addresses(self) -> list[str]:
        return [listener.address for listener in self._listeners]

    def _publish(self) -> None:
        self._recorder.publish(self._status())

    def _status(self) -> dict[str, object]:
        agent = {
            "pid": os.getpid(),
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "listen": self._addresses(),
            "state": self._state,
        }
        return snapshot(agent, self._roster, self._supervisor)


def settings(config: Config) -> Settings:
    """What of the config the proxy serves by."""
    return Settings(limits=config.limits, hold=config.hold, trust=config.trust, access=config.log.access)
