"""Bodies, which decode the bytes of a connection and find the end of the message: RFC 9112 section 6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.http1.fields import Line


class Body(Protocol):
    """The body of one message.

    Attributes:
        is_done: whether the complete body was fed.
        trailers: the trailer lines to relay, once ``is_done``.
    """

    is_done: bool

    @property
    def trailers(self) -> Sequence[Line]:
        """The trailer lines to relay; an implementation may have a plain attribute."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode bytes of the connection.

        Returns:
            The payload, and the rest. If the body ``is_done``, the rest follows its end. If it is not, the caller must
            feed the rest next, after letting other connections run.

        Raises:
            ValueError: the framing is broken.
        """

    def feed_eof(self) -> None:
        """Note the end of the connection.

        Raises:
            ValueError: the body is incomplete.
        """


class EmptyBody:
    """The absence of a body, as after HEAD, 204 and 304, whatever their fields declare."""

    is_done = True
    trailers = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return all bytes as the rest, because they follow the end."""
        return b"", data

    def feed_eof(self) -> None:
        """Do nothing, because the body is always complete."""


NO_BODY = EmptyBody()


class LengthBody:
    """A body with a ``Content-Length``.

    Attributes:
        remaining_bytes: how many bytes are still missing.
    """

    __slots__ = ("is_done", "remaining_bytes")
    trailers = ()

    def __init__(self, length_bytes: int) -> None:
        self.remaining_bytes = length_bytes
        self.is_done = length_bytes == 0

    def skip(self, count: int) -> None:
        """Count ``count`` bytes, at most ``remaining_bytes``, that were moved without being fed."""
        self.remaining_bytes -= count
        self.is_done = self.remaining_bytes == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the bytes that belong to the body, and those that follow it."""
        if len(data) < self.remaining_bytes:
            self.remaining_bytes -= len(data)
            return data, b""
        payload, rest = data[: self.remaining_bytes], data[self.remaining_bytes :]
        self.remaining_bytes, self.is_done = 0, True
        return payload, rest

    def feed_eof(self) -> None:
        """Raise ``ValueError`` if bytes are missing."""
        if not self.is_done:
            raise ValueError("it ended before its Content-Length")


class UntilCloseBody:
    """The body of a response that ends with the connection."""

    __slots__ = ("is_done",)
    trailers = ()

    def __init__(self) -> None:
        self.is_done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return all bytes as payload."""
        return data, b""

    def feed_eof(self) -> None:
        """End the body, as the connection did."""
        self.is_done = True


def frame(payload: bytes, body: Body, *, chunked: bool) -> bytes:
    """Return a payload of ``body`` in the framing to send it with.

    Args:
        payload: from ``body.feed``; may be empty.
        body: adds the end of the message, if it ``is_done``.
        chunked: whether the payload is sent as a chunk; otherwise it is returned unchanged.
    """
    if not chunked:
        return payload
    out = b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
    return out + last_chunk(body.trailers) if body.is_done else out


def last_chunk(trailers: Sequence[Line]) -> bytes:
    """Return the last chunk and ``trailers``, which end a chunked body."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n%b\r\n\r\n" % b"\r\n".join(trailers)
