"""Who calls the API, as far as the system knows: a name for the journal, not for permissions."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from rainbowd.permissions import user_name

if TYPE_CHECKING:
    from trio.socket import SocketType

_CREDENTIALS = struct.Struct("3i")
"""The pid, uid and gid of a peer: unix(7), SO_PEERCRED."""


def caller_name(sock: SocketType | socket.socket) -> str | None:
    """Return the user at the other end of a Unix socket, or the IP address of a TCP peer.

    Args:
        sock: connected to the caller.

    Returns:
        The name, the number of a user who has no name, or None if the caller has gone.
    """
    try:
        if sock.family != socket.AF_UNIX:
            return str(sock.getpeername()[0])
        data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    return user_name(_CREDENTIALS.unpack(data)[1])
