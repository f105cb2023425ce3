"""The line between two agents: messages of JSON on a socket that keeps them apart, with descriptors beside."""

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
    """One end of it.

    Args:
        sock: of type SOCK_SEQPACKET, connected; the link's from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._turn = trio.Lock()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A new line: our end, and the other's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    async def send(self, kind: str, descriptors: Sequence[int] = (), /, **fields: object) -> None:
        """Send a message; where nobody is there to read it, it is lost.

        Args:
            kind: what it is.
            descriptors: which the other is to have too.
            fields: what it says.
        """
        data = json.dumps({"kind": kind, **fields}, default=str).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        async with self._turn:
            try:
                await self._sock.sendmsg([data], rights)
            except OSError:
                await trio.lowlevel.checkpoint()

    async def receive(self) -> tuple[Message, list[int]]:
        """The next message, with its descriptors.

        Raises:
            EOFError: the other has gone.
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
        """The next message of this kind; others before it are not for us any more.

        Raises:
            EOFError: the other has gone.
        """
        while True:
            message, descriptors = await self.receive()
            if message["kind"] == kind:
                return message, descriptors

    def close(self) -> None:
        """Hang up."""
        self._sock.close()
