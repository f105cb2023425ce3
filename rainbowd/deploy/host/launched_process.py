"""What a launched app and a launched companion process have in common: their processes and their output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from rainbowd.config import find_account
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from rainbowd.config import Account, Config
    from rainbowd.deploy.host.output import Output
    from rainbowd.deploy.process import ProcessTree

_FOLLOW_SECONDS = 1.0


class LaunchedProcess(ABC):
    """The processes of one launch, and their output.

    Args:
        process: the processes.
        output: their output pipe.
        config: that they were launched with.

    Attributes:
        pid: of the child that was launched.
        output: see the argument.
        is_handed_over: whether another agent now owns the processes and their files.
    """

    def __init__(self, process: ProcessTree, output: Output, config: Config) -> None:
        self.pid = process.pid
        self.output = output
        self.is_handed_over = False
        self._process = process
        self._config = config

    @property
    def account(self) -> Account | None:
        """The account that owns its directory; None for the agent's own."""
        with suppress(ConfigError):  # removed since
            return find_account(self._config.user, self._config.group)
        return None

    @abstractmethod
    def store_again(self) -> None:
        """Store the last record once more, because the file is gone."""

    def open_gate(self) -> None:
        """Let it start, if it has not started."""
        self._process.open_gate()

    async def main_changed(self, known: int | None) -> int:
        """Wait until the main process is another one than ``known``, and return its pid.

        Meanwhile, processes that it leaves running on their own are recorded for a later agent.
        """
        before: object = None
        while True:
            glimpse = self._process.glimpse(known)
            if glimpse != before:
                before, main = glimpse, await self._process.main()
                self._record_known()
                if main is not None and main != known:
                    return main
            await trio.sleep(_FOLLOW_SECONDS)

    @abstractmethod
    def _record_known(self) -> None:
        """Record the processes that are known, if they are others than those on record."""

    async def ended(self) -> int | None:
        """Wait until the main process has ended, and return its exit status."""
        return await self._process.ended()

    def last_lines(self) -> list[str]:
        """Return the first and the last lines of its output, including what is still in the pipe."""
        return self.output.excerpt()

    def leave(self) -> None:
        """Hand it over to another agent, as it is."""
        self.is_handed_over = True
        self._process.hand_over()
