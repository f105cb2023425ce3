"""The program of a worker: ``python -m rainbowd.workers.main``, started by the agent alone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import trio

from rainbowd import __version__, log
from rainbowd.config import Drain
from rainbowd.listeners import Listener
from rainbowd.peers import Channel, Leader, Stop
from rainbowd.prctl import set_pdeathsig
from rainbowd.proxy import Server
from rainbowd.roster import Roster, Traffic
from rainbowd.workers.messages import (
    CloseIdle,
    Configure,
    Counts,
    HandOver,
    SiteChange,
    Work,
    decode_maintenance,
    decode_settings,
    encode_traffic,
)
from rainbowd.workers.process import WORKER_VARIABLE
from rainbowd.workers.shared import SharedNumbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STOP_SECONDS = 25.0
"""How long requests may take if the agent has ended, which a worker normally does not outlive."""
_COUNTS_SECONDS = 0.2
_FLUSH_SECONDS = 1.0
_M_ARENA_MAX = -8


def main() -> int:
    """Serve requests until the agent stops this worker."""
    set_pdeathsig(signal.SIGKILL)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)  # they are for the agent, which stops its workers
    descriptor = int(os.environ.pop(WORKER_VARIABLE))
    os.set_inheritable(descriptor, False)
    with contextlib.suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    try:
        return trio.run(_serve, Channel(socket.socket(fileno=descriptor)))
    finally:
        log.flush(_FLUSH_SECONDS)


async def _serve(channel: Channel) -> int:
    try:
        work, (shared_fd, *descriptors) = await channel.expect(Work)
        log.configure(work.level, work.format)
        log.share(f"/proc/self/fd/{shared_fd}")
        if work.version != __version__:
            log.get_logger().error(
                "the installed version is not that of the agent",
                installed=__version__,
                agent=work.version,
                hint="run `rainbowd upgrade`",
            )
            return 1
        if os.getppid() != work.pid:  # the agent ended before this process had set PR_SET_PDEATHSIG
            return 1
        configure, _ = await channel.expect(Configure)
    except EOFError:
        return 0
    program = WorkerProxy(channel, work, configure, SharedNumbers(work.processes, shared_fd), descriptors)
    await program.run()
    return 0


class WorkerProxy:
    """The worker: a proxy whose roster follows the agent's.

    Args:
        channel: to the agent.
        work: the first message.
        configure: the first settings.
        shared: the numbers that all processes share.
        descriptors: the listening sockets.
    """

    def __init__(
        self, channel: Channel, work: Work, configure: Configure, shared: SharedNumbers, descriptors: Sequence[int]
    ) -> None:
        self._channel = channel
        self._sent, self._index = shared.sent, work.index
        self._listeners = [Listener(socket.socket(fileno=fd)) for fd in descriptors]
        self._stop = trio.Event()
        self._ready = trio.Event()
        self._roster = Roster()
        self._server = Server(self._roster, decode_settings(configure.settings))
        self._leader = Leader(channel, self._roster, self._handle)
        self._leader.acknowledged = configure.number
        self._counted = (0, 0, 0)
        context = self._server.context
        context.share(shared.connections, shared.held_requests, work.index)
        context.traffic = Traffic()
        self._roster.follow(self._catch_up)
        self._roster.observe(self._ready.set)

    async def run(self) -> None:
        """Serve until the agent stops this worker."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._count_repeatedly)
            await self._ready.wait()
            await self._server.serve(self._listeners, self._stop, _STOP_SECONDS)
            self._leader.report()
            self._count()
            nursery.cancel_scope.cancel()

    async def _follow(self) -> None:
        """Follow the agent; if it ends, finish what is here."""
        await self._leader.converse()
        self._stop.set()
        self._ready.set()

    def _catch_up(self) -> bool:
        """Let messages that the agent has sent take effect; return whether all of them have."""
        if self._leader.acknowledged < self._sent[self._index]:
            self._leader.catch_up()
        return self._leader.acknowledged >= self._sent[self._index]

    def _handle(self, content: Mapping[str, Any]) -> int | None:
        match content["kind"]:
            case Configure.kind:
                configure = Configure.read(content)
                self._server.configure(decode_settings(configure.settings))
                return configure.number
            case SiteChange.kind:
                return self._set_site(SiteChange.read(content))
            case Stop.kind:
                self._server.stop(Stop.read(content).seconds)
                self._stop.set()
            case HandOver.kind:
                self._hand_over(HandOver.read(content))
            case CloseIdle.kind:
                self._server.close_idle()
        return None

    def _set_site(self, site: SiteChange) -> int:
        context = self._server.context
        context.error_pages.pages = {int(status): page.encode("latin-1") for status, page in site.pages.items()}
        context.admission.set(decode_maintenance(site.maintenance), site.pause_seconds)
        return site.number

    def _hand_over(self, order: HandOver) -> None:
        for listener, is_shared in zip(self._listeners, order.shared, strict=True):
            listener.is_shared = is_shared
        self._server.hand_over(Drain(timeout=order.timeout, tunnels=order.tunnels))
        self._stop.set()

    async def _count_repeatedly(self) -> None:
        while True:
            await trio.sleep(_COUNTS_SECONDS)
            self._count()

    def _count(self) -> None:
        """Report the counters, if any has changed; without room, later."""
        context = self._server.context
        traffic, now = context.traffic, (context.held_requests.held, context.pool.opened, context.retries)
        if traffic is None or (now == self._counted and not traffic.exchanges):
            return
        held, opened, retries = (count - before for count, before in zip(now, self._counted, strict=True))
        counts = Counts(held, opened, retries, len(context.pool), encode_traffic(traffic))
        if self._channel.send_now(counts):
            self._counted, context.traffic = now, Traffic()


if __name__ == "__main__":
    sys.exit(main())
