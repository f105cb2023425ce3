"""The two socket options for a close that the peer notices at once."""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct
import termios

_LINGER_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with zero seconds, so that close sends RST: socket(7)


def unread_bytes(sock: socket.socket) -> int:
    """Return the number of bytes in ``sock`` that the peer has not received: SIOCOUTQ in tcp(7) and unix(7)."""
    count = array.array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return count[0]


def reset_on_close(sock: socket.socket) -> None:
    """Make the close of ``sock`` send a reset (RST) instead of an end (FIN)."""
    with contextlib.suppress(OSError):  # already reset
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
