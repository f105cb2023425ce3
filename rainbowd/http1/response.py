"""The head of a response: parsed from the app's bytes, and serialised again for the client."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rainbowd.http1.body import NO_BODY, Body, LengthBody, UntilCloseBody
from rainbowd.http1.chunked import ChunkedBody
from rainbowd.http1.errors import BadResponse
from rainbowd.http1.fields import RULE_BY_NAME, TOKENS_BY_VALUE, Line, Rule, parse_length, read_lines, remove_nominated
from rainbowd.http1.response_repair import find_repaired_end, find_start_error, read_repaired_head

HEAD_BYTES = 131072
"""The largest head that an app may send."""
FIELDS_MAX = 1000
"""The largest number of its fields, because each one costs time."""

SWITCHING_PROTOCOLS, OK, NO_CONTENT, NOT_MODIFIED, UPGRADE_REQUIRED = 101, 200, 204, 304, 426

_UPGRADING = frozenset({SWITCHING_PROTOCOLS, UPGRADE_REQUIRED})

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")

# Lookups of an enum's members are slow, and these are needed for every response.
_CONTENT_LENGTH, _CONNECTION, _DATE = Rule.CONTENT_LENGTH, Rule.CONNECTION, Rule.DATE


@dataclass(slots=True)
class ResponseHead:
    """The parsed head of a response.

    Attributes:
        minor: the minor version of HTTP: 0 or 1.
        lines: the field lines that are relayed unchanged, in order.
        length_bytes: the value of ``Content-Length``; None without one.
        chunked: whether the body is chunked.
        keep_alive: whether the app keeps its connection open after this response.
        has_date: whether there is a ``Date``.
        upgrade: the protocol of a 101 or 426; empty for other statuses.
    """

    minor: int
    status: int
    reason: bytes
    lines: list[Line]
    length_bytes: int | None = None
    chunked: bool = False
    keep_alive: bool = True
    has_date: bool = False
    upgrade: bytes = b""

    @property
    def is_interim(self) -> bool:
        """Whether this is a 1xx, which a final response follows."""
        return self.status < OK and self.status != SWITCHING_PROTOCOLS

    def has_no_body(self, method: bytes) -> bool:
        """Return whether a response to ``method`` has no body, whatever its fields declare: RFC 9112 section 6.3."""
        return method == b"HEAD" or self.status < OK or self.status in {NO_CONTENT, NOT_MODIFIED}

    def body(self, method: bytes) -> Body:
        """Return a decoder of the body that follows this head, in response to ``method``."""
        if self.has_no_body(method):
            return NO_BODY
        if self.chunked:
            return ChunkedBody(strict=False)
        if self.length_bytes is None:
            return UntilCloseBody()
        return LengthBody(self.length_bytes)

    def serialise(self, *, chunked: bool, connection: bytes) -> bytes:
        """Return the head for the client, in HTTP/1.1.

        Args:
            chunked: whether the body is sent in chunks.
            connection: the value of ``Connection``; empty for none.
        """
        lines = [b"HTTP/1.1 %d %b" % (self.status, self.reason), *self.lines]
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length_bytes is not None:
            lines.append(b"Content-Length: %d" % self.length_bytes)
        if self.upgrade:
            lines.append(b"Upgrade: %b" % self.upgrade)
            connection = b"Upgrade, %b" % connection if connection else b"Upgrade"
        if connection:
            lines.append(b"Connection: %b" % connection)
        lines.append(b"\r\n")
        return b"\r\n".join(lines)


def read_response(buffer: bytes, searched_bytes: int) -> tuple[ResponseHead, int] | None:
    """Read the head that ``buffer`` begins with, and repair it if it can be read in one way only.

    Args:
        buffer: bytes of the app that were not consumed yet; not empty.
        searched_bytes: how much of it an earlier call has searched.

    Returns:
        The head, and the index after it; None if it is incomplete.

    Raises:
        BadResponse: it is too large, is not HTTP, or is ambiguous.
    """
    end = buffer.find(b"\r\n\r\n", searched_bytes - 3 if searched_bytes > 3 else 0)  # noqa: PLR2004
    if 0 <= end <= HEAD_BYTES and (match := _STATUS_LINE.match(buffer)):
        try:
            lines = read_lines(buffer[match.end() : end + 4])
        except ValueError:
            return _read_repaired(buffer, searched_bytes)
        minor, status, reason = match.groups(b"")
        return _head(1 if minor == b"1" else 0, int(status), reason, lines), end + 4
    return _read_repaired(buffer, searched_bytes)


def _read_repaired(buffer: bytes, searched_bytes: int) -> tuple[ResponseHead, int] | None:
    """Read a head that breaks a rule or is incomplete; the app's connection is not used again after it."""
    end = find_repaired_end(buffer, searched_bytes)
    if (end if end >= 0 else len(buffer)) > HEAD_BYTES:
        raise BadResponse("its header is too large")
    if end < 0:
        problem = find_start_error(buffer, searched_bytes)
        if problem is not None:
            raise BadResponse(problem)
        return None
    try:
        version, status, reason, lines = read_repaired_head(buffer[:end])
    except ValueError as error:
        raise BadResponse(str(error)) from None
    response = _head(1 if version > b"1.0" else 0, status, reason, lines)
    response.keep_alive = False
    return response, end


def _head(minor: int, status: int, reason: bytes, lines: list[Line]) -> ResponseHead:
    if len(lines) > FIELDS_MAX:
        raise BadResponse("it has too many fields")
    response = ResponseHead(minor, status, reason, [])
    try:
        _read_fields(response, lines)
    except ValueError as error:
        raise BadResponse(f"its header cannot be read: {error}") from None
    return response


def _read_fields(response: ResponseHead, lines: list[Line]) -> None:  # noqa: C901, PLR0912 - a flat table
    passing, rules = response.lines, RULE_BY_NAME
    nominated: tuple[bytes, ...] = ()
    for line in lines:
        name, _, value = line.partition(b":")
        rule = rules[name]
        if rule is None:
            passing.append(line)
        elif rule is _CONTENT_LENGTH:
            response.length_bytes = parse_length(value)
        elif rule is _DATE:
            passing.append(line)
            response.has_date = True
        elif rule is _CONNECTION:
            nominated += TOKENS_BY_VALUE[value]
        elif rule is Rule.TRANSFER_ENCODING:
            if response.chunked or value.strip(b" \t").lower() != b"chunked":
                raise BadResponse("its Transfer-Encoding is not chunked")
            response.chunked = True
        elif rule is Rule.UPGRADE:
            if response.status in _UPGRADING:
                response.upgrade = value.strip(b" \t")
        elif rule is not Rule.DROP and rule is not Rule.TE:
            passing.append(line)
    if nominated:
        response.lines = remove_nominated(passing, nominated)
    if response.minor:
        response.keep_alive = b"close" not in nominated
    else:  # chunks in HTTP/1.0 are decoded, but the connection is not reused: RFC 9112 section 6.1
        response.keep_alive = b"keep-alive" in nominated and not response.chunked
    if response.status < OK or response.status == NO_CONTENT:
        response.keep_alive &= not (response.chunked or response.length_bytes)  # the declared body may follow
        response.length_bytes, response.chunked = None, False
