"""One generation's app: its processes, its output and its address.

An app that an earlier agent launched differs only in how long it has to pass its check.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from rainbowd.address import TcpAddress
from rainbowd.deploy.host.launched_process import LaunchedProcess
from rainbowd.deploy.host.ports import is_free
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.deploy.host.checks import Checks
    from rainbowd.deploy.host.output import Output, StartupOutput
    from rainbowd.deploy.process import ExitReport, ProcessTree
    from rainbowd.deploy.records import GenerationRecord


class LaunchedApp(LaunchedProcess):
    """The ``App`` of the interfaces, on this machine.

    Args:
        checks: its health checks.
        process: its processes.
        output: its output pipe.
        record: for a later agent, as it is on disk.
        store: stores the record, which it encodes when it is written; None removes it.

    Attributes:
        address: on which it accepts connections.
        last_check: the result of its last health check.
        marks: what its processes are recognized by, also by a later agent.
        startup_output: gets its output until it is live; None after that, and for an adopted app.
    """

    def __init__(
        self,
        checks: Checks,
        process: ProcessTree,
        output: Output,
        record: GenerationRecord,
        store: Callable[[Callable[[], bytes] | None], None],
    ) -> None:
        super().__init__(process, output, checks.config)
        self.address = checks.address
        self.last_check = checks.last
        self.marks = process.marks
        self.startup_output: StartupOutput | None = None
        self._checks = checks
        self._store = store
        self._ended = False
        self._record: GenerationRecord | None = record

    def note(self, state: State, live_at: float | None) -> None:
        """Record ``state``, or remove the record if the generation is retired."""
        if state is not State.STARTING:
            self.startup_output = None
        if state is State.RETIRED or self._record is None:
            self._record = None
            self._store(None)
        else:
            self._update(state=state, since_seconds=time.monotonic(), live_at=live_at, known=self._process.known)

    def _update(self, **changes: Any) -> None:
        assert self._record is not None
        self._record = replace(self._record, **changes)
        self._store(self._record.encode)

    def store_again(self) -> None:
        """Store the last record and the output of the start once more, because the files are gone."""
        if self._record is not None:
            self._store(self._record.encode)
        if self.startup_output is not None:
            self.startup_output.store_again()

    async def check(self) -> None:
        """Return when it is healthy on a socket of its own.

        An adopted app must only pass one check, within the timeout of a check.

        Raises:
            DeployFailed: it is not healthy in time; the reason contains the last result.
            PortTaken: another program answers on its port.
        """
        await self._checks.pass_all()

    async def is_alive(self) -> bool:
        """Return whether any process of it runs."""
        return bool(await self._process.members())

    def _record_known(self) -> None:
        if self._record is not None and self._record.known != self._process.known:
            self._update(known=self._process.known)

    async def probe(self) -> str | None:
        """Check its health once, or, without a health check, whether any process of it runs."""
        if self._config.health is None:
            return None if await self.is_alive() else "nothing of it runs"
        return await self._checks.probe_again(self._config.health)

    def port_is_taken(self) -> bool:
        """Return whether another program listens on the port of the app, which has exited."""
        return isinstance(self.address, TcpAddress) and not is_free(self.address.port)

    async def end(self, stop_now: trio.Event) -> ExitReport:
        """Stop its remaining processes, and reap them."""
        drain = self._config.drain
        # A process that two generations share would end the daemon of both if it were stopped.
        patience_seconds = 0.0 if self._checks.is_shared else drain.kill_after
        ending = await self._process.end(signal=drain.signal, kill_after_seconds=patience_seconds, stop_now=stop_now)
        self._ended = True
        return ending

    async def end_if_due(self, stop_now: trio.Event) -> None:
        """End its processes, if that has not happened yet; bounded by ``drain.kill_after``.

        Args:
            stop_now: when set, processes that still run are killed at once.
        """
        if not (self._ended or self.is_handed_over):
            with trio.CancelScope(shield=True):
                await self.end(stop_now)
