"""The generations that exist, and which of them is live: plain objects and functions, without I/O, clock or await.

The deploy side writes the roster (``add``, ``promote``, ``advance``, ``is_launch_due``).  The proxy reads it: it takes
leases by ``Roster.lease`` and ends them by ``Generation.release_lease``.  A generation reports only two things back to
the deploy side: its last lease ended, and its address refuses connections.  ``Traffic`` counts for the metrics.
"""

from rainbowd.roster.generation import Generation, IllegalTransition, LeaseHolder, State
from rainbowd.roster.roster import Roster
from rainbowd.roster.traffic import Traffic

__all__ = ["Generation", "IllegalTransition", "LeaseHolder", "Roster", "State", "Traffic"]
