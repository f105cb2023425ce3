"""One run of the agent: both flows wired together, what it tells of itself, and its renewal."""

from rainbowd.agent.agent import HEEDED, Agent
from rainbowd.agent.keeping import Keeping

__all__ = ["HEEDED", "Agent", "Keeping"]
