"""The agent's side of its own upgrade: from the wish for one to a new agent, or back."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger
from rainbowd.upgrade import OfferedSocket, Rendezvous, UpgradeFailed, new_program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rainbowd.deploy.service import DeployService
    from rainbowd.hangup import Hangup
    from rainbowd.listeners import Listener
    from rainbowd.report.lock import Lock
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster
    from rainbowd.upgrade import NewAgent

_WRITE_SECONDS = 5.0
"""For the state directory to take what a new agent has to find there."""

log = get_logger()


class AgentUpgrade:
    """Has a new program become the agent, when it is asked for.

    Args:
        roster: of what is leased here.
        recorder: has written all that the new one has to find.
        lock: of the state directory.
        shared: every listener, with the part that accepts by it, in one order.
        state_dir: which stays what it is.
        soft_limit: of open files, as the first agent was started with.
        hangup: what HUP means to us, and so to the new one.
        directory: where the agent was started.

    Attributes:
        is_over: there is a new agent.
        meeting: where the next one finds us, once there is a new agent.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        lock: Lock,
        shared: Sequence[tuple[str, Listener]],
        *,
        state_dir: Path,
        soft_limit: int,
        hangup: Hangup,
        directory: Path,
    ) -> None:
        self._hangup = hangup
        self.is_over = False
        self.meeting: Rendezvous | None = None
        self._successor_pidfd = -1
        self._roster = roster
        self._recorder = recorder
        self._lock = lock
        self._shared = shared
        self._state_dir = state_dir
        self._soft_limit = soft_limit
        self._directory = directory
        self._asked = trio.Event()

    def ask(self) -> None:
        """Ask for a new agent; while one is on its way, for one more behind it."""
        self._asked.set()

    def pass_on(self, signum: int) -> None:
        """Signal the new agent: whoever sent it to us meant the agent."""
        if self.is_over:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._successor_pidfd, signum)

    def pass_on_ask(self) -> None:
        """Ask the new agent for what was asked for when its own program had been started already."""
        if self._asked.is_set():
            self.pass_on(signal.SIGUSR2)

    async def prepare(self, deploys: DeployService, upgrade: contextlib.AsyncExitStack) -> NewAgent:
        """Wait until asked, and for a program that is ready for it, at a moment that is good for it.

        Args:
            deploys: whose end is waited for.
            upgrade: has the program; what is not the agent when it is closed is ended.
        """
        while True:
            await self._asked.wait()
            try:
                await deploys.until_idle()
                self._asked = trio.Event()  # what is asked for from now on is one more: what is installed may change
                log.info("upgrade begins")
                program = await upgrade.enter_async_context(new_program(self._hangup, self._directory))
                await program.prepare(
                    self._lock.fileno(),
                    [OfferedSocket(listener.sock, listener.configured, part) for part, listener in self._shared],
                    state_dir=self._state_dir,
                    soft_limit=self._soft_limit,
                    config=self._lock.config,
                    directory=self._directory,
                )
            except UpgradeFailed as failure:
                await upgrade.aclose()
                self._tell(failure)
            else:
                await deploys.until_idle()
                return program

    async def hand_over(self, program: NewAgent) -> bool:
        """Leave everything to ``program``; whether it is the agent now. Where it is not, all is ours again."""
        try:
            await self._write_all()
            self.meeting = self._open_meeting()
            ready = await program.hand_over(self._roster)
        except UpgradeFailed as failure:
            self.close()
            await program.end()
            with contextlib.suppress(OSError):  # it says what it said before, as a rule
                self._lock.claim()
            self._tell(failure)
            return False
        self._successor_pidfd = os.pidfd_open(program.pid)
        program.release()
        for (_, listener), is_taken in zip(self._shared, ready["taken"], strict=True):
            listener.is_shared = is_taken
        self.is_over = True
        self._lock.hand_over()
        log.info("upgraded", pid=program.pid)
        return True

    def close(self) -> None:
        """Nothing is left that another agent has to know."""
        if self.meeting is not None:
            self.meeting.close()
            self.meeting = None

    def _open_meeting(self) -> Rendezvous:
        try:
            return Rendezvous(self._state_dir)
        except OSError as error:
            raise UpgradeFailed(f"the state directory cannot be written: {error.strerror}") from None

    async def _write_all(self) -> None:
        """Have on disk what the new agent has to find there."""
        with trio.move_on_after(_WRITE_SECONDS):
            await self._recorder.until_written()
            return
        raise UpgradeFailed("the state directory cannot be written")

    def _tell(self, failure: UpgradeFailed) -> None:
        log.error("an upgrade failed; nothing has changed", reason=failure.reason, output=failure.output)
        self._recorder.record("agent.upgrade_failed", reason=failure.reason, output=failure.output)
