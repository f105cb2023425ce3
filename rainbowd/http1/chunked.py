"""Chunked bodies: RFC 9112 section 7.1."""

from __future__ import annotations

import re

from rainbowd.http1.fields import LENGTH_BYTES_MAX, RULE_BY_NAME, Line, has_bare_lf, read_lines
from rainbowd.http1.response_repair import read_repaired_lines

CHUNK_LINE_BYTES = 4096
"""The longest chunk-size line, including its extensions."""
OVERHEAD_BYTES = 16384
"""How many bytes the chunk-size lines of one body may have beyond the allowance of its payload."""
_LINE_ALLOWANCE_BYTES = 16

CHUNKS_PER_FEED = 128
"""How many chunks are decoded at a time: a chunk of one byte costs as much as moving a KiB."""
TRAILERS_MAX = 128
"""The largest number of trailers."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_EXTENSION = rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_STRICT_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*\r\n")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")


class ChunkedBody:
    """A body in chunks, and its trailers.

    Args:
        strict: whether chunk-size lines and trailers must follow the grammar, as in requests. In responses spaces may
            follow the size, extensions can be anything, and trailers are repaired.
        trailer_bytes: the largest size of all trailers.

    Attributes:
        is_done: whether the complete body was fed.
        trailers: the trailer lines to relay, once ``is_done``.
    """

    __slots__ = (
        "_chunk_line",
        "_in_trailers",
        "_overhead_bytes",
        "_pending",
        "_read_lines",
        "_remaining_bytes",
        "_searched_bytes",
        "_trailer_bytes",
        "is_done",
        "trailers",
    )

    def __init__(self, *, strict: bool, trailer_bytes: int = 65536) -> None:
        self.is_done = False
        self.trailers: list[Line] = []
        self._chunk_line = _STRICT_CHUNK_LINE if strict else _CHUNK_LINE
        self._read_lines = read_lines if strict else read_repaired_lines
        self._trailer_bytes = trailer_bytes
        self._pending = b""  # an incomplete chunk-size line, chunk end or trailer
        self._searched_bytes = 0  # of the pending trailers
        self._remaining_bytes = 0  # of the chunk being read, with the CRLF after it
        self._overhead_bytes = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode at most ``CHUNKS_PER_FEED`` chunks. See ``Body.feed``."""
        if self._pending:
            data, self._pending = self._pending + data, b""
        payload: list[bytes] = []
        at = 0
        while not self._in_trailers:
            if self._remaining_bytes == 0:
                if len(payload) >= CHUNKS_PER_FEED:
                    return b"".join(payload), data[at:]
                start = self._read_chunk_line(data, at)
                if start < 0:
                    self._pending = data[at:]
                    return b"".join(payload), b""
                at = start
            else:
                end = self._read_chunk(data, at, payload)
                if end < 0:
                    return b"".join(payload), b""
                at = end
        return b"".join(payload), self._read_trailers(data, at)

    def feed_eof(self) -> None:
        """Raise ``ValueError`` if the last chunk is missing."""
        if not self.is_done:
            raise ValueError("it ended before its last chunk")

    def _read_chunk_line(self, data: bytes, at: int) -> int:
        """Read the chunk-size line at ``at``, and return the index after it, or -1 if it is incomplete."""
        match = self._chunk_line.match(data, at)
        if match is None:
            line_end = data.find(b"\n", at)
            if line_end > at and data[line_end - 1 : line_end] != b"\r":
                raise ValueError("a chunk-size line ends without a carriage return")
            if line_end >= 0 or len(data) - at > CHUNK_LINE_BYTES or not _may_become_chunk_line(data, at):
                raise ValueError("a chunk size is not valid")
            return -1
        size = int(match[1], 16)
        line_bytes = match.end() - at
        if line_bytes > CHUNK_LINE_BYTES or size > LENGTH_BYTES_MAX:
            raise ValueError("a chunk size is not valid")
        # The payload limits the size of the extensions, as in Go's net/http: parsing a flood of them is expensive.
        self._overhead_bytes = max(0, self._overhead_bytes + line_bytes - _LINE_ALLOWANCE_BYTES - 2 * size)
        if self._overhead_bytes > OVERHEAD_BYTES:
            raise ValueError("too many chunk extensions")
        if size == 0:
            self._in_trailers = True
        else:
            self._remaining_bytes = size + 2
        return match.end()

    def _read_chunk(self, data: bytes, at: int, payload: list[bytes]) -> int:
        """Read the chunk at ``at``, and return the index after its CRLF, or -1 if it is incomplete."""
        size = self._remaining_bytes - 2
        available = len(data) - at
        if available >= self._remaining_bytes:
            end = at + size
            if data[end : end + 2] != b"\r\n":
                raise ValueError("a chunk does not end after its size")
            payload.append(data[at:end])
            self._remaining_bytes = 0
            return end + 2
        if available > size:  # all but the LF: keep the CR, so that both are checked together
            if data[-1:] != b"\r":
                raise ValueError("a chunk does not end after its size")
            payload.append(data[at:-1])
            self._pending, self._remaining_bytes = b"\r", 2
            return -1
        payload.append(data[at:])
        self._remaining_bytes -= available
        return -1

    def _read_trailers(self, data: bytes, at: int) -> bytes:
        """Read the trailers at ``at``, and return the bytes after them; none if the trailers are incomplete."""
        if data.startswith(b"\r\n", at):
            self.is_done = True
            return data[at + 2 :]
        new = at + max(0, self._searched_bytes - 3)
        end = data.find(b"\r\n\r\n", new) + 4
        is_whole = end >= 4  # noqa: PLR2004 - found
        if (end if is_whole else len(data)) - at > self._trailer_bytes:
            raise ValueError("its trailers are too long")
        if not is_whole:
            if has_bare_lf(data, new):
                raise ValueError("a line ends without a carriage return")
            self._pending = data[at:]
            self._searched_bytes = len(self._pending)
            return b""
        lines = self._read_lines(data[at:end])
        if len(lines) > TRAILERS_MAX:
            raise ValueError("it has too many trailers")
        self.trailers = [line for line in lines if RULE_BY_NAME[line.partition(b":")[0]] is None]
        self.is_done = True
        return data[end:]


_CHUNK_LINE_START = re.compile(rb"[0-9A-Fa-f]{0,16}(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*|[ \t]*)\r?\Z")


def _may_become_chunk_line(data: bytes, at: int) -> bool:
    return _CHUNK_LINE_START.match(data, at) is not None
