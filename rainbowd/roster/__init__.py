"""Which generations there are and which one is live: plain objects and plain functions, no I/O, no clock, no await.

The deploy side writes the roster (add, promote, withdraw, advance); the proxy reads it (lease, release).  Only two
things come back from the proxy: a generation's last lease ended, and its address refused a connection.
"""

from rainbowd.roster.generation import Generation, IllegalTransition, LeaseHolder, State
from rainbowd.roster.roster import Roster

__all__ = ["Generation", "IllegalTransition", "LeaseHolder", "Roster", "State"]
