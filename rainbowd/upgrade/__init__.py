"""Upgrade: a new agent takes the place of the running one, without losing a request.

The *old agent* starts the installed program as the *new agent*, and waits until that is prepared: it has imported
everything, read its config, and received the listening sockets and the lock.  Only then does the old agent let go of
the generations, without changing them, and the new agent adopts them and accepts connections.  Until the new agent
reports that it is ready, any failure of it leaves the old one the agent: it adopts the generations again.

After that the old agent finishes its requests in flight.  It is a follower of the new one: see ``rainbowd.peers``.  The
new agent stops no generation on which the old one has a lease.  A client's idle connection can still send one more
request to the old agent.  If the new agent is killed, the next start finds the old one by its ``Rendezvous``, and both
continue in the same way.

If the old agent is killed before the new one is ready, the kernel kills the new one too.  That is a crash like any
other, and the next start recovers.

HTTP also has an ``Upgrade`` field, which opens tunnels: see ``proxy.tunnel``.  This package is about the agent.
"""

from rainbowd.upgrade.draining_agent import DrainingAgent
from rainbowd.upgrade.new_agent import NewAgent, UpgradeFailed, start_new_agent
from rainbowd.upgrade.predecessors import Predecessors
from rainbowd.upgrade.received_offer import Offer, OfferedSocket, ReplacedAgent, receive_offer
from rainbowd.upgrade.rendezvous import Rendezvous

__all__ = [
    "DrainingAgent",
    "NewAgent",
    "Offer",
    "OfferedSocket",
    "Predecessors",
    "Rendezvous",
    "ReplacedAgent",
    "UpgradeFailed",
    "receive_offer",
    "start_new_agent",
]
