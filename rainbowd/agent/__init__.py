"""One run of the agent: both flows wired together, its status, its signals, and its upgrade."""

from rainbowd.agent.agent import Agent
from rainbowd.agent.signals import HANDLED_SIGNALS
from rainbowd.agent.start import AgentListeners, AgentStart
from rainbowd.agent.state_dir_guard import StateDirGuard

__all__ = ["HANDLED_SIGNALS", "Agent", "AgentListeners", "AgentStart", "StateDirGuard"]
