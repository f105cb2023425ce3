"""The proxy: accepts clients, reads requests, leases the live generation, and relays requests and responses.

- Sockets: ``hub`` has one epoll for all sockets, and sends in batches.  ``wire`` is one socket.
- Waiting: a ``fiber``, which the hub runs by itself, or a trio task.
- Clients: ``acceptor`` accepts connections.  ``connection`` is parked without a fiber until a head is complete.
- Requests: ``exchange`` is one request and its response.  It has a ``claim`` (a lease, and a connection of the pool in
  ``upstream``), an ``upload`` and a ``download``, which use ``pipes`` for large bodies.  ``request_id`` adds the id and
  the dates.  ``hold`` holds requests while no generation is live.  ``tunnel`` follows ``101 Switching Protocols``.
  ``admission`` closes the site for maintenance or a pause.  ``error_response`` and ``error_pages`` answer for the app.
  ``app_errors`` counts what the app failed.  ``visitor`` knows who sends a request.
- The whole: ``server`` starts and stops the proxy, with its ``settings``.  ``deadlines`` keeps the time limits.

Optimizations are kept in few places, with their reasons: sends in batches (``hub``), no task for a typical request
(``fiber``), no fiber step for a tunnel's frame (``tunnel``), rare garbage collections (``gc_tuning``), deadlines
without timers (``deadlines``), bodies through pipes (``pipes``), and one pass over a head's fields (``http1``).
"""

from rainbowd.proxy.admission import Maintenance
from rainbowd.proxy.server import Server
from rainbowd.proxy.settings import ProxySettings

__all__ = ["Maintenance", "ProxySettings", "Server"]
