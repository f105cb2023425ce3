"""Where a body ends: RFC 9112 section 6.  A body takes the bytes of its connection and gives the payload back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.http1.fields import Line


class Body(Protocol):
    """One message's body on its connection.

    Attributes:
        is_done: the whole body was fed.
        trailers: the lines of the fields after the last chunk that pass on, once ``is_done``.
    """

    is_done: bool

    @property
    def trailers(self) -> Sequence[Line]:
        """See above: a body may have this as a plain attribute."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes of the connection.

        Returns:
            The payload among them, and the rest. This follows the end of the body if that is ``is_done``. If it is not,
            the rest is to be fed next, after others had their turn.

        Raises:
            ValueError: the framing is broken.
        """

    def feed_eof(self) -> None:
        """The connection ended.

        Raises:
            ValueError: the body was not whole.
        """


class EmptyBody:
    """No body: also a response to HEAD, and 204 and 304, whatever their fields say."""

    is_done = True
    trailers = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """All that comes follows the end."""
        return b"", data

    def feed_eof(self) -> None:
        """It is always whole."""


NO_BODY = EmptyBody()


class LengthBody:
    """A body of ``remaining_bytes``, above zero."""

    __slots__ = ("is_done", "remaining_bytes")
    trailers = ()

    def __init__(self, length_bytes: int) -> None:
        self.remaining_bytes = length_bytes
        self.is_done = length_bytes == 0

    def skip(self, count: int) -> None:
        """So many bytes, not more than remain, were moved past us."""
        self.remaining_bytes -= count
        self.is_done = self.remaining_bytes == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Count."""
        if len(data) < self.remaining_bytes:
            self.remaining_bytes -= len(data)
            return data, b""
        payload, rest = data[: self.remaining_bytes], data[self.remaining_bytes :]
        self.remaining_bytes, self.is_done = 0, True
        return payload, rest

    def feed_eof(self) -> None:
        """Ended before its length."""
        if not self.is_done:
            raise ValueError("it ended before its Content-Length")


class UntilCloseBody:
    """A response's body that ends with the connection."""

    __slots__ = ("is_done",)
    trailers = ()

    def __init__(self) -> None:
        self.is_done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """All that comes belongs to it."""
        return data, b""

    def feed_eof(self) -> None:
        """The one proper end."""
        self.is_done = True


def frame(payload: bytes, body: Body, *, chunked: bool) -> bytes:
    """Return what ``body.feed`` gave back as it is sent on: as it is, or as a chunk, with the end after the last."""
    if not chunked:
        return payload
    out = b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
    return out + last_chunk(body.trailers) if body.is_done else out


def last_chunk(trailers: Sequence[Line]) -> bytes:
    """Return the end of a chunked body."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n%b\r\n\r\n" % b"\r\n".join(trailers)
