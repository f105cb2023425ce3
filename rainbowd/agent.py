"""The agent: nested nurseries and the wiring between the two flows, nothing else.

What is opened first ends last::

    reporting          the journal and status.json: outlives all that is told there
    └ signals          a second TERM hurries whatever still goes on
      ├ deploying      until another agent does, see ``renewal``
      │ └ lives        every generation; ends by reaping, or by leaving all of it to that agent
      │   ├ supervise  one deploy at a time
      │   ├ calls      deploys that the API asks for
      │   └ intake     watch
      ├ api            where it is enabled
      └ serve          listeners, then connections, for drain.stop at the most: the first to end
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.deploy.deploys import Deploys
from rainbowd.deploy.ownership import Ownership
from rainbowd.deploy.process import reap_orphans
from rainbowd.deploy.snapshot import snapshot, timestamp
from rainbowd.log import get_logger
from rainbowd.notify import Notices
from rainbowd.proxy import Server, Settings
from rainbowd.renewal import Outgoing, RenewalFailed, Socket, new_program
from rainbowd.roster import Roster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.control.api import Api
    from rainbowd.deploy.seam import World
    from rainbowd.proxy import Listener
    from rainbowd.renewal import Incoming, Program
    from rainbowd.report.recorder import Recorder
    from rainbowd.report.state_dir import Lock

HEEDED = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)

_COUNTERS_SECONDS = 1.0
"""How often ``status.json`` is written while only counters move."""

_REAP_SECONDS = 1.0
_WRITE_SECONDS = 5.0
"""For the state directory to take what a new agent has to find there."""

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
    """

    def __init__(
        self,
        config: Config,
        world: World,
        recorder: Recorder,
        listeners: Sequence[Listener],
        lock: Lock,
        *,
        base: Path,
        early: Sequence[int] = (),
        api: tuple[Api, Listener] | None = None,
        incoming: Callable[[Roster], Incoming] | None = None,
        soft_limit: int = 0,
    ) -> None:
        self._config = config
        self._world = world
        self._listeners = listeners
        self._lock = lock
        self._early = early
        self._base = base
        self._api = api
        self._soft_limit = soft_limit
        self._state = "starting"
        self._started_at = world.now()
        self._stop = trio.Event()
        self._serving = trio.CancelScope()
        self._renewal_asked = trio.Event()
        self._successor: int | None = None
        self._is_silent = incoming is not None
        self._roster = Roster()
        self._recorder = recorder
        self._notices = Notices()
        recorder.observe(self._notices.event)
        self._server = Server(self._roster, settings(config))
        self._incoming = incoming(self._roster) if incoming is not None else None
        self._deploys = self._new_deploys(Ownership(is_complete=incoming is None), is_handed_over=incoming is not None)

    async def run(self) -> None:
        """Everything, from the first line of the journal to the last."""
        async with trio.open_nursery() as reporting:
            await reporting.start(self._recorder.run)
            reporting.start_soon(self._notices.run)
            if self._incoming is None:
                self._recorder.record("agent.started", version=__version__, pid=os.getpid(), listen=self._addresses())
            try:
                with trio.open_signal_receiver(*HEEDED) as signals:
                    async with trio.open_nursery() as beside:
                        beside.start_soon(self._obey, signals)
                        await self._live()
                        beside.cancel_scope.cancel()
            finally:
                if not self._is_silent:
                    self._recorder.record("agent.stopped")
                    self._publish()
                reporting.cancel_scope.cancel()

    async def _live(self) -> None:
        """Deploy and serve until told to stop; then finish requests first, and generations behind them."""
        async with trio.open_nursery() as beneath:
            self._roster.observe(self._publish)
            beneath.start_soon(self._deploy)
            beneath.start_soon(self._tell_counters)
            beneath.start_soon(self._reap)
            if self._incoming is not None:
                await self._deploys.supervisor.started.wait()  # until now the agent before us serves
            if self._api is not None:
                beneath.start_soon(self._control, self._api[0])
            with self._serving:
                async with trio.open_nursery() as serving:
                    await serving.start(self._server.serve, self._listeners, self._stop, self._config.drain.stop)
                    await self._begin(beneath)
                if self._incoming is not None:
                    await self._await_predecessor(self._incoming)
            beneath.cancel_scope.cancel()

    async def _await_predecessor(self, incoming: Incoming) -> None:
        """Outlive the agent before us, as it has requests on our generations; where we stop, it was told to hurry."""
        is_stopping = self._successor is None
        with trio.move_on_after(self._config.drain.stop if is_stopping else math.inf):
            await incoming.gone.wait()

    async def _begin(self, beneath: trio.Nursery) -> None:
        """We accept: be the agent."""
        if self._incoming is not None:
            self._lock.claim()
            await self._incoming.ready({listener.sock.fileno() for _, listener in self._shared()})
            self._deploys.supervisor.ownership.complete()
            beneath.start_soon(self._incoming.run)
            self._is_silent = False
            for _, listener in self._shared():
                listener.is_shared = False
            offer = self._incoming.offer
            self._recorder.record(
                "agent.renewed",
                version=__version__,
                pid=os.getpid(),
                listen=self._addresses(),
                predecessor={"pid": offer.pid, "version": offer.version},
            )
        self._tell_ready()

    # --- deploying, and renewal -----------------------------------------------------------------------------------

    async def _deploy(self) -> None:
        """Deploy until told to stop, or until a new agent does; where that fails, go on as if nothing had been."""
        program: Program | None = None
        while self._successor is None:
            with trio.CancelScope() as scope:
                async with contextlib.AsyncExitStack() as renewal:
                    async with trio.open_nursery() as lives:
                        self._deploys.start(lives)
                        program = await self._prepare_renewal(renewal)
                        scope.shield = True  # until it is decided who looks after what is left now: bounded by times
                        self._is_silent = True
                        self._deploys.supervisor.leave()
                        lives.cancel_scope.cancel()
                    await self._hand_over(program)
        assert program is not None
        await Outgoing(program.link, self._roster, self._server.stop).run()
        self._server.close_idle()  # the new one was killed: nobody tells any more what is live

    async def _prepare_renewal(self, renewal: contextlib.AsyncExitStack) -> Program:
        """Wait until asked for a renewal, and for a program that is ready for it, at a moment that is good for it."""
        while True:
            await self._renewal_asked.wait()
            self._renewal_asked = trio.Event()
            try:
                await self._deploys.until_quiet()
                log.info("renewal begins")
                program = await renewal.enter_async_context(new_program())
                await program.prepare(
                    self._lock.fileno(),
                    [Socket(listener.sock, listener.asked, part) for part, listener in self._shared()],
                    state_dir=self._config.state_dir,
                    soft_limit=self._soft_limit,
                )
            except RenewalFailed as failure:
                await renewal.aclose()
                self._tell_failure(failure)
            else:
                await self._deploys.until_quiet()
                return program

    async def _hand_over(self, program: Program) -> None:
        """Leave everything to the new agent, or take it back."""
        try:
            await self._write_all()
            ready = await program.hand_over(self._roster)
        except RenewalFailed as failure:
            await program.end()
            with contextlib.suppress(OSError):  # it says what it said before, as a rule
                self._lock.claim()
            self._is_silent = False
            self._deploys = self._new_deploys(Ownership(), is_handed_over=True)
            self._tell_failure(failure)
            return
        program.release()
        for (_, listener), is_taken in zip(self._shared(), ready["taken"], strict=True):
            listener.is_shared = is_taken
        self._successor = program.pid
        self._notices.hand_over(program.pid)
        self._lock.leave()
        log.info("renewed", pid=program.pid)
        if self._state == "stopping":  # told so when it was too late for us
            os.kill(program.pid, signal.SIGTERM)
        elif self._renewal_asked.is_set():  # once more, meanwhile
            os.kill(program.pid, signal.SIGUSR2)
        self._server.hand_over(self._deploys.supervisor.drain)
        self._stop.set()

    async def _write_all(self) -> None:
        """Have on disk what the new agent has to find there."""
        with trio.move_on_after(_WRITE_SECONDS):
            await self._recorder.until_written()
            return
        raise RenewalFailed("the state directory cannot be written")

    def _tell_failure(self, failure: RenewalFailed) -> None:
        log.error("a renewal failed; nothing has changed", reason=failure.reason, output=failure.output)
        self._recorder.record("agent.renewal_failed", reason=failure.reason, output=failure.output)

    def _new_deploys(self, ownership: Ownership, *, is_handed_over: bool) -> Deploys:
        return Deploys(
            self._roster,
            self._recorder,
            self._world,
            self._config,
            base=self._base,
            on_switch=self._on_switch,
            ownership=ownership,
            is_handed_over=is_handed_over,
        )

    def _shared(self) -> list[tuple[str, Listener]]:
        """Every listener, with the part that accepts by it: what a renewal hands over, in one order."""
        return [*(("proxy", one) for one in self._listeners), *([("api", self._api[1])] if self._api else [])]

    async def _control(self, api: Api) -> None:
        """Let the API ask for what the files can ask for, until told to stop."""
        from rainbowd.controls import make_controls  # noqa: PLC0415 - nothing of it is loaded where it is off

        controls = make_controls(
            state_dir=self._config.state_dir,
            deploys=lambda: self._deploys,
            recorder=self._recorder,
            roster=self._roster,
            server=self._server,
            status=self._status,
        )
        await api.run(controls, self._deploys.supervisor.started, self._stop)

    # --- signals --------------------------------------------------------------------------------------------------

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        for signum in self._early:
            self._heed(signum)
        async for signum in signals:
            self._heed(signum)

    def _heed(self, signum: int) -> None:
        """HUP deploys, USR2 renews; TERM or INT stops; a second one does not wait for anything but the reaping."""
        if signum in {signal.SIGHUP, signal.SIGUSR2} and self._successor is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._successor, signum)  # whoever sent it meant the agent
        elif signum == signal.SIGHUP:
            self._deploys.signal()
        elif signum == signal.SIGUSR2:
            self._renewal_asked.set()
        elif self._state != "stopping":
            log.info("stopping", signal=signal.Signals(signum).name, seconds_at_most=self._config.drain.stop)
            self._state = "stopping"
            drain = self._deploys.supervisor.drain
            self._notices.stopping(self._config.drain.stop + drain.kill_after)
            self._deploys.stop()
            if self._incoming is not None:
                self._incoming.stop(self._config.drain.stop)
            if self._successor is None:
                self._stop.set()
            else:
                self._server.stop(self._config.drain.stop)
            self._publish()
        else:
            log.warning("stopping at once", signal=signal.Signals(signum).name)
            self._deploys.supervisor.hurry()
            self._serving.cancel()

    def _on_switch(self, config: Config) -> None:
        self._server.settings = settings(config)

    # --- what is told ---------------------------------------------------------------------------------------------

    def _tell_ready(self) -> None:
        if self._state == "starting":
            self._state = "ready"
        log.info("ready", version=__version__, pid=os.getpid(), listen=self._addresses())
        self._publish()
        if self._state == "ready":
            self._notices.ready()

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
        if not self._is_silent:  # else another agent tells
            status = self._status()
            self._recorder.publish(status)
            self._notices.status(status)

    def _status(self) -> dict[str, object]:
        agent = {
            "pid": os.getpid(),
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "listen": self._addresses(),
            "state": self._state,
        }
        return snapshot(agent, self._roster, self._deploys.supervisor)


def settings(config: Config) -> Settings:
    """What of the config the proxy serves by."""
    return Settings(limits=config.limits, hold=config.hold, trust=config.trust, access=config.log.access)
