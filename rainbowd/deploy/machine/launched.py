"""One generation's app, as the supervisor sees it: its processes, its output and its address.

Whether this agent launched it or an earlier one did makes no difference here but for the time that it has to answer.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from rainbowd.address import Address, TcpAddress
from rainbowd.deploy.machine.health import Prober, until_healthy
from rainbowd.deploy.machine.holder import Kind, find_holder
from rainbowd.deploy.machine.listening import forms, is_on_every_interface, listeners
from rainbowd.deploy.machine.ports import is_free
from rainbowd.deploy.process import name_process, why_foreign
from rainbowd.deploy.record import Record
from rainbowd.deploy.seam import PortTaken
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.config import Config, Health
    from rainbowd.deploy.machine.boot import Boot
    from rainbowd.deploy.machine.output import Output
    from rainbowd.deploy.process import Ending, Process

_FOLLOW_SECONDS = 1.0

_SEEK_SECONDS = 1.0  # between two looks at where an app listens: each reads /proc

log = get_logger()


class RealApp:
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
        last_check: what the last health check got, in a few words; None before the first.
        is_handed_over: it is another agent's now, with its files.
    """

    def __init__(
        self,
        config: Config,
        address: Address,
        process: Process,
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
        self.boot: Boot | None = None
        self.last_check: str | None = None
        self._config = config
        self._process = process
        self._prober = prober
        self._keep = keep
        self._hurry = hurry
        self._started_at = started_at
        self._is_adopted = is_adopted
        self._is_own = False  # its socket, when it last answered
        self._seek_at = 0.0
        self._elsewhere = ""
        self._ended = False
        self._noted: Record | None = None
        self._is_shared = False
        self.is_handed_over = False

    @property
    def mark(self) -> tuple[int, str]:
        """The uid of the account that it was started as, and the secret mark of its processes."""
        (uid,) = self._process.claim.uids
        return uid, self._process.secret

    def record(self, state: State, live_at: float | None = None) -> Record:
        """What a later agent is to know, being in ``state`` as of now."""
        return Record(
            self._process.identity, state, time.monotonic(), self._started_at, live_at, known=self._process.known
        )

    def note(self, state: State, live_at: float | None) -> None:
        """Put ``state`` on record; one that is retired has none any more."""
        if self.boot is not None and state is not State.STARTING:
            self.boot.end()
        self._noted = None if state is State.RETIRED else self.record(state, live_at)
        self._keep(None if self._noted is None else self._noted.encode())

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
        health = self._config.health
        if health is None:
            await trio.sleep(0.0 if self._is_adopted else self._config.warmup or 0.0)
        else:
            await self._check_health(health)
        await self._check_owner(seen_healthy=health is not None)
        if not self._is_adopted:
            await self._warn_if_open()

    async def _check_health(self, health: Health) -> None:
        if self._is_adopted:
            health = health.model_copy(update={"passes": 1, "deadline": health.timeout})
        try:
            await until_healthy(lambda: self._ask(health), health)
        except PortTaken:
            raise
        except DeployFailed as failure:
            raise DeployFailed(failure.reason + await self._listening_elsewhere()) from None

    async def _ask(self, health: Health) -> str | None:
        """Ask once; what is wrong, in a sentence.

        Raises:
            PortTaken: a stranger answers, whose answer is nobody's concern.
        """
        seen = await self._prober.probe(self.address, health)
        if seen.is_answer and seen.problem is not None and not self._is_own:
            await self._check_owner(seen_healthy=True)
            self._is_own = True
        self.last_check = seen.brief if seen.is_answer else seen.brief + await self._elsewhere_meanwhile()
        return seen.problem

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
        self._is_own = False  # as of now
        try:
            problem = await self._ask(self._config.health)
        except DeployFailed as failure:
            return failure.reason
        if problem is None:
            holder = await find_holder(self._process, self.address)
            problem = holder.reason if holder.kind is Kind.STRANGER else None
        return problem

    async def _check_owner(self, *, seen_healthy: bool) -> None:
        """See that it can be ended, and that the socket that answers is its own and no other generation's, too.

        Raises:
            DeployFailed, PortTaken: it is not so.
        """
        foreign = await self._process.foreign()
        if self._process.pid in foreign:
            name = await trio.to_thread.run_sync(name_process, self._process.pid)
            raise DeployFailed(f"the app's main process could not be ended: {name}: {why_foreign()}")
        holder = await find_holder(self._process, self.address)
        if holder.kind is Kind.HIDDEN:
            log.warning("cannot see whose socket it is, as /proc hides it", address=str(self.address))
        elif holder.kind is Kind.SHARED:
            self._is_shared = True
            raise DeployFailed(holder.reason)
        elif holder.kind is Kind.STRANGER:
            raise PortTaken(holder.reason, holder=holder.command)
        elif holder.kind is Kind.NOBODY and seen_healthy:
            raise PortTaken(f"{self.address} is answered by a process that is not of this generation")
        elif holder.kind is Kind.NOBODY:
            raise DeployFailed(f"not listening on {self.address} after the warm-up" + await self._listening_elsewhere())

    async def _warn_if_open(self) -> None:
        if await trio.to_thread.run_sync(is_on_every_interface, await self._process.members(), self.address):
            log.warning(
                "the app listens on every interface",
                address=str(self.address),
                hint="others may reach it past the proxy: have it listen on 127.0.0.1",
            )

    async def _elsewhere_meanwhile(self) -> str:
        """Return ``_listening_elsewhere`` of a second ago at most, or nothing in the first second."""
        now = trio.current_time()
        if now >= self._seek_at:
            self._elsewhere = await self._listening_elsewhere() if self._seek_at else ""
            self._seek_at = now + _SEEK_SECONDS
        return self._elsewhere

    async def _listening_elsewhere(self) -> str:
        """Where it listens instead, as the end of a sentence; nothing where it listens as it was told."""
        found = await trio.to_thread.run_sync(listeners, await self._process.members())
        if any(str(form) in found.addresses for form in forms(self.address)):
            return ""
        if found.addresses:
            return f"; the app listens on {', '.join(found.addresses)}"
        return "; /proc hides where the app listens" if found.hidden else "; the app does not listen anywhere"

    async def ended(self) -> int | None:
        """Wait until nothing of it serves any more; the exit status."""
        return await self._process.ended()

    def port_is_taken(self) -> bool:
        """Whether a stranger listens where the app, which has exited, was to listen."""
        return isinstance(self.address, TcpAddress) and not is_free(self.address.port)

    def last_lines(self) -> list[str]:
        """Return the beginning and the end of its output, with what is in the pipe by now."""
        return self.output.excerpt()

    async def end(self, hurry: trio.Event) -> Ending:
        """Stop what is left of it, and reap it."""
        drain = self._config.drain
        patience_seconds = 0.0 if self._is_shared else drain.kill_after  # asked to end, it would end the daemon of both
        ending = await self._process.end(signal=drain.signal, kill_after_seconds=patience_seconds, hurry=hurry)
        self._ended = True
        return ending

    def leave(self) -> None:
        """Leave it as it is to another agent."""
        self.is_handed_over = True
        self._process.leave()

    async def end_if_due(self) -> None:
        """Whatever went wrong above, no process of ours stays behind; bounded by ``drain.kill_after``."""
        if not (self._ended or self.is_handed_over):
            with trio.CancelScope(shield=True):
                await self.end(self._hurry)
