"""The generations that exist, and which of them is live: plain objects and functions, without I/O, clock or await.

The deploy side writes the roster (``add``, ``give_share``, ``promote``, ``advance``, ``hold_while``).  The proxy
reads it: it takes leases by ``Roster.lease``, ends them by ``Generation.release_lease``, and counts errors by
``Generation.count_error``.  A generation reports only these things back to the deploy side: its last lease ended, its
address refuses connections, and a request failed.  ``Traffic`` counts for the metrics.  A roster in another process
takes over the state of this one by ``Roster.view`` and ``Roster.mirror``.
"""

from rainbowd.roster.canary_share import whole_if_possible
from rainbowd.roster.companion_status import KeptProcesses, ProcessState, ProcessStatus
from rainbowd.roster.generation import Generation, IllegalTransition, LeaseHolder, State
from rainbowd.roster.last_check import LastCheck
from rainbowd.roster.roster import Roster
from rainbowd.roster.traffic import Traffic
from rainbowd.roster.tunnel_batches import TUNNELS_CLOSE_SECONDS, in_batches
from rainbowd.roster.view import GenerationView, RosterView

__all__ = [
    "TUNNELS_CLOSE_SECONDS",
    "Generation",
    "GenerationView",
    "IllegalTransition",
    "KeptProcesses",
    "LastCheck",
    "LeaseHolder",
    "ProcessState",
    "ProcessStatus",
    "Roster",
    "RosterView",
    "State",
    "Traffic",
    "in_batches",
    "whole_if_possible",
]
