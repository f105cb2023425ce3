"""The agent's part in its own upgrade: from the request for one to a new agent, or back."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger
from rainbowd.upgrade import DrainingAgent, OfferedSocket, Rendezvous, UpgradeFailed, start_new_agent

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.agent.proxies import Proxies
    from rainbowd.agent.start import AgentListeners, AgentStart
    from rainbowd.deploy.service import DeployService
    from rainbowd.report.lock import Lock
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster
    from rainbowd.upgrade import NewAgent, Predecessors

TRIAL_SECONDS = 1.1
"""How long a new agent serves next to the old one before it reports that it is ready: each of its tasks has run."""

_WRITE_SECONDS = 5.0
"""How long the state directory can take to accept the records that a new agent needs."""

log = get_logger()


async def serve_on_trial() -> None:
    """Let a new agent serve next to the old one for ``TRIAL_SECONDS``, before it reports that it is ready."""
    await trio.sleep(TRIAL_SECONDS)


class AgentUpgrade:
    """The replacement of this agent by a new one, when that is requested.

    Args:
        roster: the generations, with the leases of this agent.
        recorder: writes the records that the new agent needs.
        lock: of the state directory.
        listeners: the new agent gets all of them.
        start: how this agent was started, and so the new one.
        state_dir: the state directory, which an upgrade cannot change.

    Attributes:
        is_done: whether there is a new agent.
        rendezvous: at which later agents find this one while it drains.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        lock: Lock,
        listeners: AgentListeners,
        start: AgentStart,
        *,
        state_dir: Path,
    ) -> None:
        self.is_done = False
        self.rendezvous: Rendezvous | None = None
        self._new_agent_pidfd = -1
        self._roster = roster
        self._recorder = recorder
        self._lock = lock
        self._listeners = listeners
        self._start = start
        self._state_dir = state_dir
        self._requested = trio.Event()

    def request(self) -> None:
        """Request an upgrade; while one is in progress, another one after it."""
        self._requested.set()

    def forward_signal(self, signum: int) -> None:
        """Send a signal on to the new agent, because its sender meant the agent."""
        if self.is_done:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._new_agent_pidfd, signum)

    def forward_request(self) -> None:
        """Send on a request for an upgrade that arrived after the new agent's process was started."""
        if self._requested.is_set():
            self.forward_signal(signal.SIGUSR2)

    async def prepare(self, deploys: DeployService, upgrade: contextlib.AsyncExitStack) -> NewAgent:
        """Wait for a request, and return a new agent that is prepared, while no deploy is in progress.

        Args:
            deploys: the deploys that are waited for.
            upgrade: kills the new process when it is closed, unless that process has become the agent.
        """
        start = self._start
        while True:
            await self._requested.wait()
            try:
                if not deploys.is_idle:
                    log.info("the upgrade waits until no deploy, launch or stop is in progress")
                await deploys.until_idle()
                self._requested = trio.Event()  # a request from now on is another one: the installation may change
                log.info("upgrade begins")
                new_agent = await upgrade.enter_async_context(start_new_agent(start.hangup, start.directory))
                await new_agent.prepare(
                    self._lock.fileno(),
                    [OfferedSocket(one.sock, one.configured, part) for part, one in self._listeners.shared],
                    state_dir=self._state_dir,
                    soft_limit=start.soft_limit,
                    config=self._lock.config,
                    directory=start.directory,
                )
            except UpgradeFailed as failure:
                await upgrade.aclose()
                self._record_failure(failure)
            else:
                await deploys.until_idle()
                return new_agent

    async def hand_over(self, new_agent: NewAgent) -> bool:
        """Hand everything over to the new agent; if it fails, this one owns everything again.

        Returns:
            Whether the new one is the agent now.
        """
        try:
            await self._until_written()
            self.rendezvous = self._open_rendezvous()
            ready = await new_agent.hand_over(self._roster)
        except UpgradeFailed as failure:
            self.close()
            await new_agent.kill()
            with contextlib.suppress(OSError):  # the file usually has this agent's pid already
                self._lock.claim()
            self._record_failure(failure)
            return False
        self._new_agent_pidfd = os.pidfd_open(new_agent.pid)
        new_agent.release()
        for (_, listener), is_taken in zip(self._listeners.shared, ready.taken, strict=True):
            listener.is_shared = is_taken
        self.is_done = True
        self._lock.hand_over()
        log.info("upgraded", pid=new_agent.pid)
        return True

    async def drain(self, new_agent: NewAgent, proxies: Proxies, predecessors: Predecessors) -> None:
        """Report leases to the new agent, and follow its live generation, until cancelled.

        Args:
            new_agent: the agent now.
            proxies: have the requests in flight.
            predecessors: agents that still finish requests; from now on only those before this one.
        """
        assert self.rendezvous is not None
        predecessors.below = self.rendezvous.number
        draining = DrainingAgent(
            new_agent.channel, self.rendezvous, self._roster, on_stop=proxies.stop, on_alone=proxies.close_idle
        )
        await draining.run()

    def close(self) -> None:
        """Remove the rendezvous: no later agent needs to know about this one."""
        if self.rendezvous is not None:
            self.rendezvous.close()
            self.rendezvous = None

    def _open_rendezvous(self) -> Rendezvous:
        try:
            return Rendezvous(self._state_dir)
        except OSError as error:
            raise UpgradeFailed(f"cannot write the state directory: {error.strerror}") from None

    async def _until_written(self) -> None:
        """Wait until the records that the new agent needs are on disk."""
        with trio.move_on_after(_WRITE_SECONDS):
            await self._recorder.until_written()
            return
        raise UpgradeFailed("cannot write the state directory")

    def _record_failure(self, failure: UpgradeFailed) -> None:
        log.error("the upgrade failed; the old agent continues", reason=failure.reason, output=failure.output)
        self._recorder.record("agent.upgrade_failed", reason=failure.reason, output=failure.output)
