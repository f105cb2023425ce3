"""Upgrade: a new agent takes the place of the running one, and nobody notices.

The *outgoing* agent starts its program anew and sees it prepared: imported, configured, with the listening sockets and
the lock in its hands.  Only then it leaves the generations, as they are, and the *incoming* agent adopts them and
accepts.  Until the incoming one says that it is ready, whatever goes wrong with it leaves the outgoing one the agent
that it was: it adopts the generations back.

From there on the outgoing agent finishes the requests that it has.  What they lease is told to the incoming one, which
stops no generation under them; and what is live is told back, as an idle connection may still bring a request.  Should
the incoming one be killed, the next start finds the outgoing one by its ``Rendezvous``, and both go on as before.

Where the outgoing one is killed before it has said goodbye, so is the incoming one: that is a crash like any other, and
the next start finds all that there is to find.
"""

from rainbowd.upgrade.new_agent import NewAgent, UpgradeFailed, new_program
from rainbowd.upgrade.offer import Offer, OfferedSocket, ReplacedAgent, receive_offer
from rainbowd.upgrade.outgoing import DrainingAgent
from rainbowd.upgrade.predecessor import Predecessors
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
    "new_program",
    "receive_offer",
]
