"""One launch of the app, as the supervisor sees it: its processes, its output and its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.address import Address, TcpAddress
from rainbowd.deploy.health import Prober, until_healthy
from rainbowd.deploy.listening import listeners, owns
from rainbowd.deploy.ports import is_free
from rainbowd.deploy.seam import PortTaken
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from rainbowd.config import Config
    from rainbowd.deploy.output import Output
    from rainbowd.deploy.process import Ending, Process

log = get_logger()


class LaunchedApp:
    """The real ``App`` of the seam.

    Args:
        config: what it was launched by.
        prober: shared, as it holds nothing of any app.

    Attributes:
        record: by which a later agent finds its processes again.
    """

    def __init__(self, config: Config, address: Address, process: Process, output: Output, prober: Prober) -> None:
        self.address = address
        self.pid = process.pid
        self.record = process.identity.to_json()
        self.output = output
        self._config = config
        self._process = process
        self._prober = prober
        self._ended = False

    def open_gate(self) -> None:
        """Let it run."""
        self._process.open_gate()

    async def check(self) -> None:
        """Return once it is healthy on a socket of its own.

        Raises:
            DeployFailed: it is not in time; the reason says what was last seen.
            PortTaken: a stranger answers on its port.
        """
        health = self._config.health
        if health is None:
            await trio.sleep(self._config.warmup or 0.0)
        else:
            try:
                await until_healthy(self._prober, self.address, health)
            except DeployFailed as failure:
                raise DeployFailed(failure.reason + await self._listening_elsewhere()) from None
        await self._check_owner(seen_healthy=health is not None)

    async def _check_owner(self, *, seen_healthy: bool) -> None:
        pids = await self._process.members()
        owner = await trio.to_thread.run_sync(owns, pids, self.address)
        if owner is None:
            log.warning("cannot see whose socket it is, as /proc hides it", address=str(self.address))
        elif not owner and seen_healthy:
            raise PortTaken(f"{self.address} is answered by a process that is not of this generation")
        elif not owner:
            raise DeployFailed(f"not listening on {self.address} after the warm-up" + await self._listening_elsewhere())

    async def _listening_elsewhere(self) -> str:
        """Where it listens instead, as the end of a sentence; nothing where it listens as it was told."""
        found = await trio.to_thread.run_sync(listeners, await self._process.members())
        if str(self.address) in found.addresses:
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
        """The end of its output, with what is in the pipe by now."""
        self.output.finish()
        return self.output.tail

    async def end(self, hurry: trio.Event) -> Ending:
        """Stop what is left of it, and reap it."""
        drain = self._config.drain
        ending = await self._process.end(signal=drain.signal, kill_after_seconds=drain.kill_after, hurry=hurry)
        self._ended = True
        return ending

    async def end_if_left(self) -> None:
        """Whatever went wrong above, no process is left; bounded by ``drain.kill_after``."""
        if not self._ended:
            with trio.CancelScope(shield=True):
                await self.end(trio.Event())
