"""The channel between two agents: JSON messages, with descriptors, on a Unix socket that preserves their boundaries."""

from __future__ import annotations

import array
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

MESSAGE_BYTES = 1 << 16
DESCRIPTORS_MAX = 64

Message = dict[str, Any]


class Channel:
    """One end of the channel.

    Args:
        sock: connected, of type SOCK_SEQPACKET; owned by the channel from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._sending = trio.Lock()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return the two ends of a new channel: ours, and the socket for the other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    async def send(self, kind: str, descriptors: Sequence[int] = (), /, **fields: object) -> None:
        """Send a message; it is lost if the other agent has closed its end.

        Args:
            kind: of message.
            descriptors: duplicated into the other process, see unix(7).
            fields: the content of the message.
        """
        data = json.dumps({"kind": kind, **fields}, default=str).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        async with self._sending:
            try:
                await self._sock.sendmsg([data], rights)
            except OSError:
                await trio.lowlevel.checkpoint()

    async def receive(self) -> tuple[Message, list[int]]:
        """Return the next message, and its descriptors.

        Raises:
            EOFError: the other agent has closed its end.
        """
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = await self._sock.recvmsg(MESSAGE_BYTES, room)
        except OSError:
            data, ancillary = b"", []
        descriptors = array.array("i")
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if not data:
            raise EOFError
        return json.loads(data), list(descriptors)

    async def expect(self, kind: str) -> tuple[Message, list[int]]:
        """Return the next message of a kind, and its descriptors; drop other messages before it.

        Raises:
            EOFError: the other agent has closed its end.
        """
        while True:
            message, descriptors = await self.receive()
            if message["kind"] == kind:
                return message, descriptors

    def close(self) -> None:
        """Close this end of the channel."""
        self._sock.close()
