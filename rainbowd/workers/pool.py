"""The workers of an agent: started, started again when they end, and ended with the agent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.deploy.generations.backoff import Backoff
from rainbowd.log import get_logger, share
from rainbowd.peers import Channel, Stop
from rainbowd.roster import TUNNELS_CLOSE_SECONDS, Traffic
from rainbowd.workers.messages import (
    CloseIdle,
    Configure,
    HandOver,
    SiteChange,
    Work,
    encode_maintenance,
    encode_settings,
)
from rainbowd.workers.process import WorkerProcess
from rainbowd.workers.shared import SharedNumbers
from rainbowd.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rainbowd.config import Drain, LogSettings
    from rainbowd.listeners import Listener
    from rainbowd.peers import Message
    from rainbowd.proxy import Maintenance, ProxySettings, Server
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

_CONFIRM_SECONDS = 0.05
"""How often each worker is sent whether a launch is due: no event reports a change of that."""

_HANG_SECONDS = 10.0
"""How much longer than its time a worker may take to end before it is killed."""

log = get_logger()


@dataclass
class _Slot:
    """The place of one worker; when its process ends, a new one takes the place.

    Attributes:
        index: of the worker; the agent has 0.
        worker: the worker; None while none runs.
        pid: of its process; None while none runs.
        ended_exchanges: counted by the processes that have ended.
    """

    index: int
    worker: Worker | None = None
    pid: int | None = None
    ended_exchanges: int = 0

    @property
    def exchanges(self) -> int:
        """The number of exchanges that all processes of this slot have counted."""
        return self.ended_exchanges + (self.worker.exchanges if self.worker is not None else 0)


class Workers:
    """All workers of the agent.

    Args:
        processes: how many processes serve, with the agent.
        roster: of the agent.
        server: the proxy of the agent.
        recorder: writes the journal.
        log_settings: of the agent.
    """

    def __init__(
        self, processes: int, roster: Roster, server: Server, recorder: Recorder, log_settings: LogSettings
    ) -> None:
        self._roster = roster
        self._server = server
        self._recorder = recorder
        self._log_settings = log_settings
        self._shared = SharedNumbers(processes)
        self._slots = [_Slot(index) for index in range(1, processes)]
        self._listeners: Sequence[Listener] = ()
        self._site: tuple[Maintenance | None, float | None, Mapping[int, bytes]] = (None, None, {})
        self._ending = trio.Event()
        self._scope = trio.CancelScope()
        context = server.context
        context.share(self._shared.connections, self._shared.held_requests, 0)
        context.traffic = Traffic()
        share(f"/proc/self/fd/{self._shared.descriptor}")

    async def run(self, listeners: Sequence[Listener]) -> None:
        """Run the workers, which accept on ``listeners``, until all have stopped; kill them if this is cancelled."""
        self._listeners = listeners
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._confirm_launches)
            with self._scope:
                async with trio.open_nursery() as running:
                    for slot in self._slots:
                        running.start_soon(self._keep, slot)
            nursery.cancel_scope.cancel()

    # --- what all workers get -------------------------------------------------------------------------------------

    def configure(self, settings: ProxySettings) -> None:
        """Serve new requests with ``settings`` from now on."""
        for worker in self._running:
            worker.send_numbered(lambda number: Configure(number, encode_settings(settings)))

    def set_site(
        self, maintenance: Maintenance | None, pause_seconds: float | None, pages: Mapping[int, bytes]
    ) -> None:
        """Close or open the site from now on, and use these error pages.

        Args:
            maintenance: the answer to every request; None without maintenance.
            pause_seconds: how long a request waits at most during a pause; None without a pause.
            pages: the error pages, by their status.
        """
        self._site = maintenance, pause_seconds, pages
        for worker in self._running:
            self._send_site(worker)

    def stop(self, seconds: float) -> None:
        """Make all workers finish within ``seconds``."""
        self._end(Stop(seconds), seconds)

    def hand_over(self, rules: Drain) -> None:
        """Make all workers finish by ``rules``, as ``Server.hand_over``: another agent accepts from now on."""
        shared = [listener.is_shared for listener in self._listeners]
        seconds = max(rules.timeout, rules.tunnels + TUNNELS_CLOSE_SECONDS)
        self._end(HandOver(rules.timeout, rules.tunnels, shared), seconds)

    def close_idle(self) -> None:
        """Close the connections that are between two requests."""
        for worker in self._running:
            worker.send(CloseIdle())

    # --- what all workers report ----------------------------------------------------------------------------------

    @property
    def idle(self) -> int:
        """The connections to the app that the workers keep."""
        return sum(worker.idle for worker in self._running)

    @property
    def connections(self) -> int:
        """The connections of clients in all processes."""
        return sum(self._shared.connections)

    @property
    def waiting(self) -> int:
        """The requests that are held in all processes."""
        return sum(self._shared.held_requests)

    def entries(self) -> list[dict[str, int | None]]:
        """Return the pid, the connections and the requests of each process; the agent is the first."""
        traffic = self._server.context.traffic
        total = traffic.exchanges if traffic is not None else 0
        own = total - sum(slot.exchanges for slot in self._slots)
        processes = [(0, os.getpid(), own), *((slot.index, slot.pid, slot.exchanges) for slot in self._slots)]
        return [
            {"pid": pid, "connections": self._shared.connections[index], "requests": requests}
            for index, pid, requests in processes
        ]

    # --- one worker -----------------------------------------------------------------------------------------------

    @property
    def _running(self) -> list[Worker]:
        return [slot.worker for slot in self._slots if slot.worker is not None]

    def _send_site(self, worker: Worker) -> None:
        maintenance, pause_seconds, pages = self._site
        worker.is_paused = pause_seconds is not None
        texts = {str(status): page.decode("latin-1") for status, page in pages.items()}
        worker.send_numbered(lambda number: SiteChange(number, encode_maintenance(maintenance), pause_seconds, texts))

    def _end(self, message: Message, seconds: float) -> None:
        """Send an order to finish within ``seconds``; a worker that hangs is killed after that."""
        self._ending.set()
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds + _HANG_SECONDS)
        for worker in self._running:
            worker.send(message)

    async def _confirm_launches(self) -> None:
        while True:
            await trio.sleep(_CONFIRM_SECONDS)
            for worker in self._running:
                worker.send_roster()

    async def _keep(self, slot: _Slot) -> None:
        """Keep a worker running until all workers are to end."""
        backoff, is_first = Backoff(), True
        while not self._ending.is_set():
            since = trio.current_time()
            status = await self._run_one(slot, is_first=is_first)
            is_first = False
            if not self._ending.is_set():
                delay_seconds = backoff.next_delay_seconds(trio.current_time() - since)
                self._record_exit(slot, status, delay_seconds)
                with trio.move_on_after(delay_seconds):
                    await self._ending.wait()

    async def _run_one(self, slot: _Slot, *, is_first: bool) -> int | None:
        """Run one process of a worker to its end, and return its exit status."""
        channel, theirs = Channel.pair()
        try:
            process = WorkerProcess(theirs, slot.index)
        except OSError as error:
            channel.close()
            log.error("cannot start a worker", worker=slot.index, error=error.strerror)
            return None
        slot.pid = process.pid
        if not is_first:
            self._recorder.record("worker.started", worker=slot.index, pid=process.pid)
        worker = slot.worker = Worker(channel, self._roster, slot.index, self._shared, self._server.context)
        status: int | None = None
        try:
            self._begin(worker, slot.index)
            await worker.converse()
            status = await process.wait()
        except Exception as bug:
            log.error("bug: a worker sent what the agent does not understand", exc_info=bug)
            status = await process.kill()
        except BaseException:  # the agent ends, or the worker hangs
            await process.kill()
            raise
        finally:
            slot.worker = None
            slot.ended_exchanges += worker.exchanges
            worker.forget()
            self._shared.clear(slot.index)
        return status

    def _begin(self, worker: Worker, index: int) -> None:
        """Send the worker what it needs to serve."""
        work = Work(
            __version__,
            os.getpid(),
            index,
            len(self._slots) + 1,
            self._log_settings.level,
            self._log_settings.format,
        )
        worker.send(work, [self._shared.descriptor, *(listener.sock.fileno() for listener in self._listeners)])
        settings = self._server.context.settings
        worker.send_numbered(lambda number: Configure(number, encode_settings(settings)))
        self._send_site(worker)
        worker.send_roster()

    def _record_exit(self, slot: _Slot, status: int | None, delay_seconds: float) -> None:
        pid, slot.pid = slot.pid, None
        log.error(
            "a worker ended; it is started again", worker=slot.index, pid=pid, exit_status=status, seconds=delay_seconds
        )
        self._recorder.record("worker.exited", worker=slot.index, pid=pid, exit_status=status)
