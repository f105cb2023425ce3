"""Where a body ends: RFC 9112 section 6.  A body takes the bytes of its connection and gives the payload back."""

from __future__ import annotations

import re
from typing import Protocol

from rainbowd.http1.fields import LENGTH_BYTES_MAX, Line, has_bare_lf, read_lines

CHUNK_LINE_BYTES = 4096
"""The longest chunk-size line, with its extensions."""
OVERHEAD_BYTES = 16384
"""By how much the chunk-size lines of one body may exceed what its payload allows them."""
_LINE_ALLOWANCE_BYTES = 16

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?)\r\n")


class Body(Protocol):
    """One message's body on its connection.

    Attributes:
        done: the whole body was fed.
    """

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes of the connection.

        Returns:
            The payload among them, and what follows the end of the body.

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

    done = True

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """All that comes follows the end."""
        return b"", data

    def feed_eof(self) -> None:
        """It is always whole."""


NO_BODY = EmptyBody()


class LengthBody:
    """A body of ``remaining_bytes``, above zero."""

    __slots__ = ("done", "remaining_bytes")

    def __init__(self, length_bytes: int) -> None:
        self.remaining_bytes = length_bytes
        self.done = length_bytes == 0

    def skip(self, count: int) -> None:
        """So many bytes, not more than remain, were moved past us."""
        self.remaining_bytes -= count
        self.done = self.remaining_bytes == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Count."""
        if len(data) < self.remaining_bytes:
            self.remaining_bytes -= len(data)
            return data, b""
        payload, rest = data[: self.remaining_bytes], data[self.remaining_bytes :]
        self.remaining_bytes, self.done = 0, True
        return payload, rest

    def feed_eof(self) -> None:
        """Ended before its length."""
        if not self.done:
            raise ValueError("ended before its length")


class UntilCloseBody:
    """A response's body that ends with the connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """All that comes belongs to it."""
        return data, b""

    def feed_eof(self) -> None:
        """The one proper end."""
        self.done = True


class ChunkedBody:
    """A chunked body: RFC 9112 section 7.1, without the leniencies that parsers disagree on.

    Args:
        trailer_bytes: the most that its trailers may take.

    Attributes:
        trailers: the lines of the fields after the last chunk, once ``done``.
    """

    __slots__ = (
        "_in_trailers",
        "_overhead_bytes",
        "_pending",
        "_remaining_bytes",
        "_trailer_bytes",
        "done",
        "trailers",
    )

    def __init__(self, trailer_bytes: int = 65536) -> None:
        self.done = False
        self.trailers: list[Line] = []
        self._trailer_bytes = trailer_bytes
        self._pending = b""  # an unfinished chunk-size line, chunk end or trailer
        self._remaining_bytes = 0  # of the chunk being read, with the CRLF behind it
        self._overhead_bytes = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode the chunks in ``data``."""
        if self._pending:
            data, self._pending = self._pending + data, b""
        payload: list[bytes] = []
        at = 0
        while not self._in_trailers:
            if self._remaining_bytes == 0:
                start = self._start_chunk(data, at)
                if start < 0:
                    self._pending = data[at:]
                    return b"".join(payload), b""
                at = start
            else:
                end = self._take_chunk(data, at, payload)
                if end < 0:
                    return b"".join(payload), b""
                at = end
        return b"".join(payload), self._take_trailers(data, at)

    def feed_eof(self) -> None:
        """Ended before its last chunk."""
        if not self.done:
            raise ValueError("ended before its last chunk")

    def _start_chunk(self, data: bytes, at: int) -> int:
        """Read the chunk-size line at ``at``; the index behind it, or -1 where it is not whole yet."""
        match = _CHUNK_LINE.match(data, at)
        if match is None:
            line_end = data.find(b"\n", at)
            if line_end >= 0 or len(data) - at > CHUNK_LINE_BYTES or not _may_become_chunk_line(data, at):
                raise ValueError("bad chunk size")
            return -1
        size = int(match[1], 16)
        line_bytes = match.end() - at
        if line_bytes > CHUNK_LINE_BYTES or size > LENGTH_BYTES_MAX:
            raise ValueError("bad chunk size")
        # Extensions are paid for by the payload, as in Go's net/http: a flood of them costs much and brings little.
        self._overhead_bytes = max(0, self._overhead_bytes + line_bytes - _LINE_ALLOWANCE_BYTES - 2 * size)
        if self._overhead_bytes > OVERHEAD_BYTES:
            raise ValueError("too many chunk extensions")
        if size == 0:
            self._in_trailers = True
        else:
            self._remaining_bytes = size + 2
        return match.end()

    def _take_chunk(self, data: bytes, at: int, payload: list[bytes]) -> int:
        """Read the chunk at ``at``; the index behind its CRLF, or -1 where it is not whole yet."""
        size = self._remaining_bytes - 2
        available = len(data) - at
        if available >= self._remaining_bytes:
            end = at + size
            if data[end : end + 2] != b"\r\n":
                raise ValueError("a chunk without its end")
            payload.append(data[at:end])
            self._remaining_bytes = 0
            return end + 2
        if available > size:  # all but the LF: keep the CR, so that the end is looked at as a whole
            if data[-1:] != b"\r":
                raise ValueError("a chunk without its end")
            payload.append(data[at:-1])
            self._pending, self._remaining_bytes = b"\r", 2
            return -1
        payload.append(data[at:])
        self._remaining_bytes -= available
        return -1

    def _take_trailers(self, data: bytes, at: int) -> bytes:
        """Read the trailers at ``at``; what follows them, or nothing where they are not whole yet."""
        if data.startswith(b"\r\n", at):
            end = at + 2
        else:
            end = data.find(b"\r\n\r\n", at) + 4
            if end < 4:  # noqa: PLR2004 - not found
                if len(data) - at > self._trailer_bytes:
                    raise ValueError("trailers too long")
                if has_bare_lf(data, at):
                    raise ValueError("a line ends without a carriage return")
                self._pending = data[at:]
                return b""
            if end - at > self._trailer_bytes:
                raise ValueError("trailers too long")
            self.trailers = read_lines(data[at:end])
        self.done = True
        return data[end:]


_CHUNK_LINE_START = re.compile(rb"[0-9A-Fa-f]{0,16}(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*|[ \t]*)\r?\Z")


def _may_become_chunk_line(data: bytes, at: int) -> bool:
    return _CHUNK_LINE_START.match(data, at) is not None


def frame(payload: bytes, body: Body, trailers: list[Line], *, chunked: bool) -> bytes:
    """What ``body.feed`` gave back, as it is sent on: as it is, or as a chunk, with the end behind the last one."""
    if not chunked:
        return payload
    out = b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
    return out + last_chunk(trailers) if body.done else out


def last_chunk(trailers: list[Line]) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n%b\r\n\r\n" % b"\r\n".join(trailers)
