"""Requests: accept, read, lease, pass on.  The sockets' side of ``http1`` and the readers' side of the roster.

Sockets: ``hub`` has one shared epoll for all, and the moment in which they send; ``wire`` is one of them.
Who waits for them: a ``fiber``, which the hub runs by itself, or a task of trio.
Clients: ``connection`` is parked without either until a head is whole; then a fiber serves it.
Requests: ``exchange`` is one request and its response, by a ``route`` to the app (a lease and a connection out of
``upstream``'s pool), with its ``upload`` and its ``download``, large ones through ``pipes``; ``tunnel`` is what it
becomes after ``101 Switching Protocols``; ``hold`` has those that wait while nothing is live; ``stamp`` tells one from
another; ``reply`` answers in the app's place; ``traffic`` counts, where somebody wants to know.
All together: ``deadlines`` keeps the time limits, ``server`` runs it and brings it to an end.

Speed lives in few places, and each trick says why it is there: sends in batches (``hub``), no task for a usual request
(``fiber``), not even a fiber's step for a frame (``tunnel``), a collector that looks seldom (``garbage``), deadlines
without timers (``deadlines``), bodies through pipes (``pipes``), one pass over a head's fields (``http1``).
"""

from rainbowd.proxy.server import Server
from rainbowd.proxy.settings import ProxySettings
from rainbowd.proxy.traffic import Traffic

__all__ = ["ProxySettings", "Server", "Traffic"]
