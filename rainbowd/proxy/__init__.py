"""The proxy: accepts clients, reads requests, leases the live generation, and relays requests and responses.

From the top, in the order in which a request meets them.  Each module imports only modules further down:

- The whole: ``server`` starts and stops the proxy.  ``acceptor`` accepts clients, up to a limit.
- Clients: ``connection`` is parked without a fiber until a head is complete, then serves it, or refuses it with an
  ``error_response`` or one of the ``error_pages``.  ``access_log`` counts and logs each exchange at its end, with
  ``app_errors``.
- Requests: ``exchange`` is one request and its response.  Its ``claim`` is a lease and a connection to the app, its
  ``exchange_watch`` is what can end it early.  ``upload`` and ``download`` decode the bodies, and ``relay`` moves the
  parts that do not arrive with the head.  ``request_id`` adds the id and the dates.  ``old_assets`` requests a missing
  file from the other generations.  ``tunnel`` follows ``101 Switching Protocols``.  ``failures`` are the ways in which
  an exchange fails.
- What they share: ``context`` holds the ``settings`` and the services.  ``client`` is what an exchange may know of a
  connection, ``connected_clients`` are all that are open.  ``upstream`` has the pool of connections to the app.
  ``hold`` has the requests that wait while no generation is live.  ``admission`` closes the site for maintenance or a
  pause.  ``client_identity`` determines who sends a request.  ``pipes`` move large bodies, ``deadlines`` has the time
  limits, and ``throttle`` limits warnings.  ``tally`` is a number that several processes count together.
- Sockets: ``wire`` is one socket, ``waits`` the fibers that wait there, ``reset`` a close that the peer notices.
- Waiting: a ``fiber``, which the reactor runs by itself, or a trio task, which can have another one in the
  ``background``.  ``reactor`` has one epoll for all sockets, and sends in batches.

Optimizations are kept in few places, with their reasons:

- ``reactor``: sends in batches
- ``fiber``: no task for a typical request
- ``tunnel``: no fiber step for a frame
- ``gc_tuning``: rare garbage collections
- ``deadlines``: no timers
- ``pipes``: large bodies stay in the kernel
- ``http1``: one pass over the fields of a head
"""

from rainbowd.proxy.admission import Maintenance
from rainbowd.proxy.server import Server
from rainbowd.proxy.settings import ProxySettings

__all__ = ["Maintenance", "ProxySettings", "Server"]
