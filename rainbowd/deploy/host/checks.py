"""The checks of one generation: whether it is healthy, and whether its own socket answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.failures import PortTaken
from rainbowd.deploy.host.answering_process import Kind, find_holder
from rainbowd.deploy.host.health import until_healthy
from rainbowd.deploy.host.listening_sockets import forms, is_on_every_interface, listeners
from rainbowd.deploy.process import name_process, why_foreign
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import LastCheck

if TYPE_CHECKING:
    from rainbowd.address import Address
    from rainbowd.config import Config, Health
    from rainbowd.deploy.host.health import Prober
    from rainbowd.deploy.process import ProcessTree

_SOCKETS_SECONDS = 1.0
"""How often the sockets of an app are read from /proc."""

log = get_logger()


class Checks:
    """The checks of one generation, with their last result.

    Args:
        config: that it was launched with.
        address: on which it should answer.
        process: its processes.
        prober: sends the requests.
        is_adopted: whether an earlier agent launched it and saw it healthy.

    Attributes:
        config, address: see the arguments.
        last: the last check.
        is_shared: whether another generation started the process that answers.
    """

    def __init__(
        self, config: Config, address: Address, process: ProcessTree, prober: Prober, *, is_adopted: bool
    ) -> None:
        self.address = address
        self.last = LastCheck()
        self.is_shared = False
        self.config = config
        self._process = process
        self._prober = prober
        self._is_adopted = self._is_proven = is_adopted
        self._is_own = False  # the socket, when it last answered
        self._sockets_at = 0.0
        self._elsewhere = ""

    async def pass_all(self) -> None:
        """Return when the app is healthy on a socket of its own.

        An adopted app must only pass one check, within the timeout of a check.

        Raises:
            DeployFailed: it is not healthy in time; the reason contains the last result.
            PortTaken: another program answers on its port.
        """
        health = self.config.health
        if health is None:
            await trio.sleep(0.0 if self._is_adopted else self.config.warmup or 0.0)
        else:
            await self._check_health(health)
        await self._check_owner(seen_healthy=health is not None)
        self._is_proven = True
        if not self._is_adopted:
            await self._warn_if_open()

    async def _check_health(self, health: Health) -> None:
        if self._is_adopted:
            health = health.model_copy(update={"passes": 1, "deadline": health.timeout})
        try:
            await until_healthy(lambda: self._probe(health), health)
        except PortTaken:
            raise
        except DeployFailed as failure:
            raise DeployFailed(failure.reason + await self._listening_elsewhere()) from None

    async def _probe(self, health: Health) -> str | None:
        """Send one probe; return what is wrong, in a sentence, or None.

        Raises:
            PortTaken: another program answers, so that its response means nothing.
        """
        result = await self._prober.probe(self.address, health)
        if result.is_answer and result.problem is not None and not self._is_own:
            await self._check_owner(seen_healthy=True)
            self._is_own = True
        self.last.result = result.brief if result.is_answer else result.brief + await self._elsewhere_meanwhile()
        return result.problem

    async def probe_again(self, health: Health) -> str | None:
        """Send one probe and check whose socket answers; return what is wrong, in a sentence, or None.

        Args:
            health: the config of the check.
        """
        self._is_own = False
        try:
            problem = await self._probe(health)
        except DeployFailed as failure:
            return failure.reason
        if problem is None:
            holder = await find_holder(self._process, self.address)
            problem = None if holder.kind is Kind.SHARED else holder.reason or None
        return problem

    async def _check_owner(self, *, seen_healthy: bool) -> None:
        """Check that the app can be ended, and that the socket that answers belongs to this generation alone.

        Raises:
            DeployFailed: the app cannot be ended, or another generation or account holds the socket.
            PortTaken: another program holds the socket.
        """
        foreign = await self._process.foreign()
        if self._process.pid in foreign:
            name = await trio.to_thread.run_sync(name_process, self._process.pid)
            raise DeployFailed(f"the app's main process could not be ended: {name}: {why_foreign()}")
        holder = await find_holder(self._process, self.address)
        if holder.kind is Kind.HIDDEN:
            log.warning("cannot see whose socket it is, as /proc hides it", address=str(self.address))
        elif holder.kind is Kind.OTHERS or (holder.kind is Kind.SHARED and not self._is_proven):
            self.is_shared = True
            raise DeployFailed(holder.reason)
        elif holder.kind is Kind.FOREIGN:
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
                hint="other hosts can reach it without the proxy: make it listen on 127.0.0.1",
            )

    async def _elsewhere_meanwhile(self) -> str:
        """Return ``_listening_elsewhere``, at most a second old; empty in the first second."""
        now = trio.current_time()
        if now >= self._sockets_at:
            self._elsewhere = await self._listening_elsewhere() if self._sockets_at else ""
            self._sockets_at = now + _SOCKETS_SECONDS
        return self._elsewhere

    async def _listening_elsewhere(self) -> str:
        """Return the end of a sentence that states where the app listens instead; empty if it listens as configured."""
        found = await trio.to_thread.run_sync(listeners, await self._process.members())
        if any(str(form) in found.addresses for form in forms(self.address)):
            return ""
        if found.addresses:
            return f"; the app listens on {', '.join(found.addresses)}"
        return "; /proc hides where the app listens" if found.hidden else "; the app does not listen anywhere"
