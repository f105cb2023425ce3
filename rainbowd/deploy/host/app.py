"""One generation's app, as the supervisor sees it: its processes, its output and its address.

Whether this agent launched it or an earlier one did makes no difference here but for the time that it has to answer.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from rainbowd.address import Address, TcpAddress
from rainbowd.config import find_account
from rainbowd.deploy.host.checks import Checks
from rainbowd.deploy.host.ports import is_free
from rainbowd.deploy.records import GenerationRecord
from rainbowd.errors import ConfigError
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.config import Account, Config
    from rainbowd.deploy.host.boot import StartupOutput
    from rainbowd.deploy.host.health import Prober
    from rainbowd.deploy.host.output import Output
    from rainbowd.deploy.process import ExitReport, LaunchMarks, ProcessTree

_FOLLOW_SECONDS = 1.0

log = get_logger()


class LaunchedApp:
    """The ``App`` of the seam.

    Args:
        config: what it was launched by.
        prober: shared, as it holds nothing of any app.
        keep: writes the record anew; None removes it.
        hurry: no more patience once this is set.
        started_at: seconds since the epoch.
        is_adopted: an earlier agent launched it, and saw it healthy.

    Attributes:
        boot: told what it says, until it is live; None where that is over already.
        is_handed_over: it is another agent's now, with its files.
    """

    def __init__(
        self,
        config: Config,
        address: Address,
        process: ProcessTree,
        output: Output,
        prober: Prober,
        *,
        keep: Callable[[bytes | None], None],
        hurry: trio.Event,
        started_at: float,
        is_adopted: bool = False,
    ) -> None:
        self.address = address
        self.pid = process.pid
        self.output = output
        self.boot: StartupOutput | None = None
        self._config = config
        self._process = process
        self._checks = Checks(config, address, process, prober, is_adopted=is_adopted)
        self._keep = keep
        self._hurry = hurry
        self._started_at = started_at
        self._ended = False
        self._noted: GenerationRecord | None = None
        self.is_handed_over = False

    @property
    def last_check(self) -> str | None:
        """What the last health check got, in a few words; None before the first."""
        return self._checks.last

    @property
    def marks(self) -> LaunchMarks:
        """What its processes are recognized by, also by a later agent."""
        return self._process.marks

    @property
    def account(self) -> Account | None:
        """Whose its own directory is."""
        with suppress(ConfigError):  # removed since
            return find_account(self._config.user, self._config.group)
        return None

    def record(self, state: State, live_at: float | None = None) -> GenerationRecord:
        """What a later agent is to know, being in ``state`` as of now."""
        return GenerationRecord(
            self._process.identity, state, time.monotonic(), self._started_at, live_at, known=self._process.known
        )

    def note(self, state: State, live_at: float | None) -> None:
        """Put ``state`` on record; one that is retired has none any more."""
        if self.boot is not None and state is not State.STARTING:
            self.boot.end()
        self._noted = None if state is State.RETIRED else self.record(state, live_at)
        self._keep(None if self._noted is None else self._noted.encode())

    def note_again(self) -> None:
        """Put on record what was noted last, because the file is gone."""
        if self._noted is not None:
            self._keep(self._noted.encode())

    def open_gate(self) -> None:
        """Let it run, if it does not yet."""
        self._process.open_gate()

    async def check(self) -> None:
        """Return once it is healthy on a socket of its own.

        One that was seen healthy before is asked for one good answer, within the time that an answer may take.

        Raises:
            DeployFailed: it is not in time; the reason says what was last seen.
            PortTaken: a stranger answers on its port.
        """
        await self._checks.pass_all()

    async def is_alive(self) -> bool:
        """Whether anything of it runs."""
        return bool(await self._process.members())

    async def main_changed(self, known: int | None) -> int:
        """Wait until the main process is another one than ``known``; its number.

        What the app leaves to us meanwhile is put on record, for a later agent to find.
        """
        before: object = None
        while True:
            glimpse = self._process.glimpse(known)
            if glimpse != before:
                before, main = glimpse, await self._process.main()
                self._put_known_on_record()
                if main is not None and main != known:
                    return main
            await trio.sleep(_FOLLOW_SECONDS)

    def _put_known_on_record(self) -> None:
        noted = self._noted
        if noted is not None and noted.known != self._process.known:
            self._noted = replace(noted, known=self._process.known)
            self._keep(self._noted.encode())

    async def probe(self) -> str | None:
        """Ask once; without a health check, whether anything of it runs."""
        if self._config.health is None:
            return None if await self.is_alive() else "nothing of it runs"
        return await self._checks.ask_again(self._config.health)

    async def ended(self) -> int | None:
        """Wait until nothing of it serves any more; the exit status."""
        return await self._process.ended()

    def port_is_taken(self) -> bool:
        """Whether a stranger listens where the app, which has exited, was to listen."""
        return isinstance(self.address, TcpAddress) and not is_free(self.address.port)

    def last_lines(self) -> list[str]:
        """Return the beginning and the end of its output, with what is in the pipe by now."""
        return self.output.excerpt()

    async def end(self, hurry: trio.Event) -> ExitReport:
        """Stop what is left of it, and reap it."""
        drain = self._config.drain
        # Asked to end, a process that two generations share would end the daemon of both.
        patience_seconds = 0.0 if self._checks.is_shared else drain.kill_after
        ending = await self._process.end(signal=drain.signal, kill_after_seconds=patience_seconds, hurry=hurry)
        self._ended = True
        return ending

    def leave(self) -> None:
        """Leave it as it is to another agent."""
        self.is_handed_over = True
        self._process.hand_over()

    async def end_if_due(self) -> None:
        """Whatever went wrong above, no process of ours stays behind; bounded by ``drain.kill_after``."""
        if not (self._ended or self.is_handed_over):
            with trio.CancelScope(shield=True):
                await self.end(self._hurry)
