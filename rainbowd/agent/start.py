"""How an agent is started, and on which sockets it listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rainbowd.sighup import Hangup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rainbowd.agent.state_dir_guard import StateDirGuard
    from rainbowd.api.service import ApiService
    from rainbowd.listeners import Listener
    from rainbowd.roster import Roster
    from rainbowd.upgrade import ReplacedAgent


@dataclass(frozen=True)
class AgentListeners:
    """The sockets on which the agent listens.

    Attributes:
        proxy: the listeners of the proxy.
        api: the API and its listener; None if it is not enabled.
    """

    proxy: Sequence[Listener]
    api: tuple[ApiService, Listener] | None = None

    @property
    def shared(self) -> list[tuple[str, Listener]]:
        """Every listener, with the part of the agent that accepts on it, always in the same order."""
        api = [("api", self.api[1])] if self.api is not None else []
        return [*(("proxy", listener) for listener in self.proxy), *api]

    @property
    def addresses(self) -> list[str]:
        """The addresses on which the proxy listens."""
        return [listener.address for listener in self.proxy]


@dataclass(frozen=True)
class AgentStart:
    """The circumstances of an agent's start.

    Attributes:
        base: the config file's directory.
        directory: in which the agent was started, and in which its new agents start.
        soft_limit: of open files, as it was when the first agent was started.
        hangup: what SIGHUP means.
        early_signals: signals that arrived before the agent could handle them.
        old_agent: connects the agent's roster to the old agent of an upgrade; None for a start without one.
        guard: restores the state directory; None for none.
    """

    base: Path
    directory: Path
    soft_limit: int = 0
    hangup: Hangup = field(default_factory=Hangup)
    early_signals: Sequence[int] = ()
    old_agent: Callable[[Roster], ReplacedAgent] | None = None
    guard: StateDirGuard | None = None
