"""What all connections of one proxy share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.proxy.admission import Admission
from rainbowd.proxy.connected_clients import Clients
from rainbowd.proxy.deadlines import Deadlines
from rainbowd.proxy.error_pages import ErrorPages
from rainbowd.proxy.hold import HeldRequests
from rainbowd.proxy.pipes import Pipes
from rainbowd.proxy.reactor import Reactor
from rainbowd.proxy.tally import Tally
from rainbowd.proxy.throttle import Throttle
from rainbowd.proxy.upstream import Pool

if TYPE_CHECKING:
    from rainbowd.proxy.fiber import Fibers
    from rainbowd.proxy.settings import ProxySettings
    from rainbowd.roster import Roster, Traffic

_ACCEPTS_PER_TURN = 64
_SHARED_ACCEPTS_PER_TURN = 4
"""If processes serve together: otherwise the first one that wakes up would accept all connections of a burst."""

_OTHER_PROTOCOL_SECONDS = 60.0
"""The shortest interval of warnings about clients that do not speak HTTP: scanners send such bytes all day."""


class Context:
    """The services, the settings and the counters of one proxy. It knows no connection's class.

    Args:
        roster: leases are taken from its live generation.
        settings: the settings of new requests.

    Attributes:
        settings: the settings of new requests; can be replaced at any time.
        reactor: runs the fibers, and reports the events of all sockets.
        fibers: start a connection's coroutine; set while the server runs.
        accepts_per_turn: how many connections are accepted before anything else is done.
        pool: opens and keeps connections to the app.
        pipes: move large bodies.
        admission: closes the site for maintenance or a pause.
        error_pages: the pages that browsers get in place of our own answers.
        held_requests: wait while no generation is live.
        deadlines: check the time limits of connections.
        clients: the connections that are open.
        closes_after_response: whether every connection is closed after its next response.
        is_stopping: whether idle connections are closed and no tunnel is opened.
        traffic: counts every exchange; None if nobody reads the counters.
        retries: the number of pooled connections that turned out to be dead when used.
        other_protocols: limits the warnings about clients that do not speak HTTP.
    """

    __slots__ = (
        "accepts_per_turn",
        "admission",
        "clients",
        "closes_after_response",
        "deadlines",
        "error_pages",
        "fibers",
        "held_requests",
        "is_stopping",
        "other_protocols",
        "pipes",
        "pool",
        "reactor",
        "retries",
        "roster",
        "settings",
        "traffic",
    )

    def __init__(self, roster: Roster, settings: ProxySettings) -> None:
        self.roster = roster
        self.settings = settings
        self.accepts_per_turn = _ACCEPTS_PER_TURN
        self.reactor = Reactor()
        self.fibers: Fibers
        self.pool = Pool(self.reactor, follow_links=not settings.managed)
        self.pipes = Pipes()
        self.admission = Admission(roster)
        self.error_pages = ErrorPages()
        self.held_requests = HeldRequests(roster, self.admission)
        self.deadlines = Deadlines()
        self.clients = Clients()
        self.closes_after_response = False
        self.is_stopping = False
        self.traffic: Traffic | None = None
        self.retries = 0
        self.other_protocols = Throttle(_OTHER_PROTOCOL_SECONDS)

    def share(self, connections: memoryview, held_requests: memoryview, own: int) -> None:
        """Serve together with other processes, so that limits hold for all of them.

        Args:
            connections: the number of connections of each process.
            held_requests: the number of requests that each process holds.
            own: the index of this process in both.
        """
        self.clients.tally = Tally(connections, own)
        self.held_requests.tally = Tally(held_requests, own)
        self.accepts_per_turn = _SHARED_ACCEPTS_PER_TURN
