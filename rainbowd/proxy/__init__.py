"""Requests: accept, read, lease, pass on.  The sockets' side of ``http1`` and the readers' side of the roster.

- ``hub``: wakes a task when its socket is ready, by one shared epoll.
- ``wire``: a socket registered there: receive, send, interrupt, close.
- ``connection``: a client connection's life, one request after the other.
- ``exchange``: one request and its response.
- ``tunnel``: what an exchange becomes after ``101 Switching Protocols``.
- ``upstream``: connections to generations, and the idle ones kept.
- ``hold``: requests that wait while nothing is live.
- ``listen``: listening sockets, and accepting.
- ``server``: all of it together, with the sweeper that keeps the time limits.
"""

from rainbowd.proxy.listen import Listener, inherited, open_listener
from rainbowd.proxy.server import Server, Settings

__all__ = ["Listener", "Server", "Settings", "inherited", "open_listener"]
