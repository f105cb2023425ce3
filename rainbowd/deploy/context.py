"""The objects that all parts of one agent's deploying share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

    from rainbowd.deploy.generations.agent_ownership import Ownership
    from rainbowd.deploy.interfaces import Host
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster


@dataclass(frozen=True)
class DeployContext:
    """What every part of the deploying may use, from the start of a supervisor to its end.

    Attributes:
        roster: gets the generations, and which of them is live.
        recorder: writes the journal and ``status.json``.
        host: does everything that touches the machine.
        ownership: whether this agent may stop the generations.
        nursery: runs the lifecycles of generations, and everything else that outlives its caller.
        stop_now: once set, processes that are being stopped are killed.
    """

    roster: Roster
    recorder: Recorder
    host: Host
    ownership: Ownership
    nursery: trio.Nursery
    stop_now: trio.Event
