"""The link between the agent and another process that leases its generations: an old agent, or a worker.

The agent decides which generation serves, and the other process, its *follower*, owns the leases that it takes.  So
the agent sends the state of its roster, and the follower reports its leases:

- ``channel`` carries messages, with descriptors; ``messages`` are their types.
- ``follower`` is the other process, as the agent sees it: its leases are in the agent's roster like any other.
- ``leader`` is the agent, as the follower sees it: the follower's roster mirrors the agent's.

Every message that changes what a follower serves has a number.  The follower acknowledges it, with the leases that it
has then.  Until that, each generation that may be leased by a follower with an older state has one more holder.
"""

from rainbowd.peers.channel import Channel
from rainbowd.peers.follower import Follower, RemoteLease
from rainbowd.peers.leader import Leader
from rainbowd.peers.messages import Cut, LeaseCounts, Leases, Live, Message, Stop, encode_leases

__all__ = [
    "Channel",
    "Cut",
    "Follower",
    "Leader",
    "LeaseCounts",
    "Leases",
    "Live",
    "Message",
    "RemoteLease",
    "Stop",
    "encode_leases",
]
