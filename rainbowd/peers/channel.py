"""The channel between two processes: JSON messages, with descriptors, on a Unix socket that preserves boundaries."""

from __future__ import annotations

import array
import json
import os
import socket
from typing import TYPE_CHECKING, Any, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rainbowd.peers.messages import Message

    M = TypeVar("M", bound=Message)

MESSAGE_BYTES = 1 << 16
"""The size of a message; a larger one is sent as a file in memory, because the kernel limits what a socket can hold."""
DESCRIPTORS_MAX = 64

_STORED = "stored"
_READ_BYTES = 1 << 20


class Channel:
    """One end of the channel.

    Args:
        sock: connected, of type SOCK_SEQPACKET; owned by the channel from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._sending = trio.Lock()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return the two ends of a new channel: ours, and the socket for the other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def send_now(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send a message if there is room; it is lost if the other process has closed its end.

        Args:
            message: the message.
            descriptors: duplicated into the other process, see unix(7).

        Returns:
            Whether there was room.
        """
        data = json.dumps({"kind": message.kind, **message.fields()}, default=str).encode()
        if len(data) <= MESSAGE_BYTES:
            return self._send(data, descriptors)
        stored = _store(data)
        try:
            return self._send(json.dumps({"kind": _STORED}).encode(), [stored, *descriptors])
        finally:
            os.close(stored)

    async def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message once there is room: see ``send_now``."""
        async with self._sending:
            while not self.send_now(message, descriptors):
                await self.wait_writable()

    async def wait_writable(self) -> None:
        """Wait until there may be room for a message."""
        await trio.lowlevel.wait_writable(self._sock)

    def receive_now(self) -> tuple[Mapping[str, Any], list[int]] | None:
        """Return the fields of the next message, with its kind, and its descriptors; None if none has arrived.

        Raises:
            EOFError: the other process has closed its end.
        """
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = self._sock.recvmsg(MESSAGE_BYTES, room)
        except BlockingIOError:
            return None
        except OSError:
            data, ancillary = b"", []
        descriptors = _descriptors(ancillary)
        if not data:
            raise EOFError
        fields = json.loads(data)
        if fields["kind"] == _STORED:
            fields = json.loads(_take_stored(descriptors.pop(0)))
        return fields, descriptors

    async def receive(self) -> tuple[Mapping[str, Any], list[int]]:
        """Wait for the next message: see ``receive_now``; nothing else runs between its arrival and the return."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            received = self.receive_now()
            if received is not None:
                return received

    async def expect(self, kind: type[M]) -> tuple[M, list[int]]:
        """Return the next message of a kind, and its descriptors; drop other messages before it.

        Raises:
            EOFError: the other process has closed its end.
        """
        while True:
            fields, descriptors = await self.receive()
            if fields["kind"] == kind.kind:
                return kind.read(fields), descriptors

    def close(self) -> None:
        """Close this end of the channel."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def _send(self, data: bytes, descriptors: Sequence[int]) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._sock.sendmsg([data], rights)
        except BlockingIOError:
            return False
        except OSError:  # the other process has ended
            return True
        return True


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that arrived with a message; programs that are started do not inherit them."""
    found = array.array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
    for descriptor in found:
        os.set_inheritable(descriptor, False)
    return list(found)


def _store(data: bytes) -> int:
    """Return the descriptor of a file in memory that contains ``data``: memfd_create(2)."""
    descriptor = os.memfd_create("rainbowd-message")
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def _take_stored(descriptor: int) -> bytes:
    try:
        size = os.fstat(descriptor).st_size
        data = b""
        while len(data) < size and (chunk := os.pread(descriptor, _READ_BYTES, len(data))):
            data += chunk
        return data
    finally:
        os.close(descriptor)
