"""One run of the agent: both flows wired together, what it tells of itself, and its upgrade."""

from rainbowd.agent.agent import HEEDED, Agent
from rainbowd.agent.state_dir_guard import Keeping

__all__ = ["HEEDED", "Agent", "Keeping"]
