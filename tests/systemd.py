"""A stand-in for systemd's end of the notify socket."""

from __future__ import annotations

import contextlib
import socket
import time


class Systemd:
    """The socket that a service's notifications go to.

    Args:
        name: as ``NOTIFY_SOCKET`` has it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind("\0" + name[1:] if name.startswith("@") else name)

    def heard(self) -> list[dict[str, str]]:
        """All that is there by now."""
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines = self._sock.recv(65536).decode().split("\n")
                messages.append(dict(line.split("=", 1) for line in lines))
        return messages

    def hear(self, field: str, value: str | None = None, *, seconds: float = 30.0) -> dict[str, str]:
        """Return the next message that has ``field``, with ``value`` unless that is None.

        Messages before it are passed over.
        """
        deadline = time.monotonic() + seconds
        while True:
            message = self._next(deadline)
            if field in message and value in {None, message[field]}:
                return message

    def hear_all(self, **begins: str) -> None:
        """Wait until each field had a value that begins so, in any order; other messages are passed over."""
        deadline = time.monotonic() + 30.0
        while begins:
            message = self._next(deadline)
            begins = {name: text for name, text in begins.items() if not message.get(name, "").startswith(text)}

    def _next(self, deadline: float) -> dict[str, str]:
        try:
            self._sock.settimeout(max(0.001, deadline - time.monotonic()))
            lines = self._sock.recv(65536).decode().split("\n")
            return dict(line.split("=", 1) for line in lines)
        finally:
            self._sock.setblocking(False)

    def close(self) -> None:
        """Listen no more."""
        self._sock.close()
