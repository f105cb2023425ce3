"""A request's head: read strictly, and serialised anew for the app."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rainbowd.http1.body import NO_BODY, Body, ChunkedBody, LengthBody
from rainbowd.http1.errors import Refusal
from rainbowd.http1.fields import (
    RULE_BY_NAME,
    Line,
    Rule,
    has_bare_lf,
    parse_length,
    read_lines,
    tokens,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Callable

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/([0-9]\.[0-9])\r\n")
_MINOR_VERSIONS = {b"1.1": 1, b"1.0": 0}
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"})  # RFC 9112 section 7.2
_COUNTED = frozenset({b"OPTIONS", b"TRACE"})
_DIGITS = re.compile(rb"[0-9]{1,9}")
_CONTROLS = bytes([*range(0x20), 0x7F])

_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_SLASH = 0x2F

EMPTY_LINES_BYTES = 4096
"""The most that may come before a request; old clients send one empty line behind a body."""

OK, BAD_REQUEST, TARGET_TOO_LONG, TOO_LARGE, NOT_IMPLEMENTED, BAD_VERSION = 200, 400, 414, 431, 501, 505


def find_request_head(buffer: bytes | bytearray, searched: int, limit_bytes: int | None) -> int:
    """Look for the end of the head that ``buffer`` begins with.

    Args:
        buffer: what the connection sent and nobody consumed.
        searched: how much of it an earlier call has seen.
        limit_bytes: the most a head may take.

    Returns:
        The index behind the head, or -1 where it is not whole yet.

    Raises:
        Refusal: it is too long, or what is there cannot become a request.
    """
    end = buffer.find(b"\r\n\r\n", searched - 3 if searched > 3 else 0)  # noqa: PLR2004
    if limit_bytes is not None and (end + 4 if end >= 0 else len(buffer)) > limit_bytes:
        if b"\r\n" not in buffer[:limit_bytes]:
            raise Refusal(TARGET_TOO_LONG, "The request target is too long.")
        raise Refusal(TOO_LARGE, "The header is too large.")
    if end >= 0:
        return end + 4
    if has_bare_lf(buffer, searched):
        raise Refusal(BAD_REQUEST, "A line ends without a carriage return.")
    line_end = buffer.find(b"\r\n")
    if line_end < 0:
        new = buffer[searched:].removesuffix(b"\r")
        if len(new.translate(None, _CONTROLS)) < len(new):
            raise Refusal(BAD_REQUEST, "This is not an HTTP request.")
    elif line_end >= searched - 1:  # seen for the first time
        _read_request_line(bytes(buffer[: line_end + 2]))
    return -1


def skip_empty_lines(buffer: bytes) -> bytes:
    """What follows the empty lines that ``buffer`` begins with: RFC 9112 section 2.2.

    Raises:
        Refusal: there are so many that nobody sends them by mistake.
    """
    match = _EMPTY_LINES.match(buffer)
    if match is None:
        return buffer
    if match.end() > EMPTY_LINES_BYTES:
        raise Refusal(BAD_REQUEST, "There are too many empty lines before the request.")
    return buffer[match.end() :]


@dataclass(slots=True)
class RequestHead:
    """What rainbowd understood of a request's head.

    Attributes:
        minor: of its version: 0 or 1.
        target: in origin form (or ``*``), byte for byte.
        lines: of the fields that pass to the app as they are, in order.
        length_bytes: of ``Content-Length``; None without one.
        keep_alive: the client may send another request behind this one.
        websocket: asks for an upgrade to it.
        forwarded_for, forwarded_proto, forwarded_host, request_id, request_start: what a trusted peer said of where the
            request came from; empty where it did not.
    """

    method: bytes
    target: bytes
    minor: int
    host: bytes
    lines: list[Line]
    length_bytes: int | None = None
    chunked: bool = False
    keep_alive: bool = True
    expects_continue: bool = False
    websocket: bool = False
    forwarded_for: bytes = b""
    forwarded_proto: bytes = b""
    forwarded_host: bytes = b""
    request_id: bytes = b""
    request_start: bytes = b""

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow the head."""
        return self.chunked or bool(self.length_bytes)

    @property
    def replayable(self) -> bool:
        """Whether it may be sent a second time: idempotent, and nothing of it but the head."""
        return self.method in IDEMPOTENT and not self.has_body and not self.websocket

    def body(self, trailer_bytes: int = 65536) -> Body:
        """A reader of the body that follows this head."""
        if self.chunked:
            return ChunkedBody(trailer_bytes)
        return LengthBody(self.length_bytes) if self.length_bytes else NO_BODY

    def serialise(self, *, peer: bytes | None) -> bytes:
        """The head for the app, in HTTP/1.1, with the forwarded fields: RFC 9110 section 7.6.

        Args:
            peer: the client's IP address; None on a Unix socket.
        """
        lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (self.method, self.target, self.host), *self.lines]
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length_bytes is not None:
            lines.append(b"Content-Length: %d" % self.length_bytes)
        if self.websocket:
            lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
        hops = b", ".join(filter(None, (self.forwarded_for, peer))) if self.forwarded_for else peer
        if hops:
            lines.append(b"X-Forwarded-For: %b" % hops)
        lines.append(
            b"X-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Request-ID: %b\r\nX-Request-Start: %b\r\n\r\n"
            % (
                self.forwarded_proto or b"http",
                self.forwarded_host or self.host,
                self.request_id,
                self.request_start,
            )
        )
        return b"\r\n".join(lines)


def parse_request(head: bytes, *, trusted: bool, fields_max: int | None = None) -> RequestHead:
    """Read one head, from its request line to its empty line.

    Args:
        head: as ``find_request_head`` delimited it.
        trusted: whether the peer's forwarded fields are kept.
        fields_max: the most field lines it may have.

    Raises:
        Refusal: two parsers could read it differently, or it is more than is allowed.
    """
    method, target, minor, end = _read_request_line(head)
    try:
        lines = read_lines(head[end:])
        if fields_max is not None and len(lines) > fields_max:
            raise Refusal(TOO_LARGE, "The header has too many fields.")
        request = RequestHead(method, target, minor, b"", [])
        _Reading(request).read(lines, trusted=trusted)
    except ValueError as error:
        raise Refusal(BAD_REQUEST, f"The header cannot be read: {error}.") from None
    if target[0] != _SLASH:
        _settle_target(request)
    return request


def _read_request_line(head: bytes) -> tuple[bytes, bytes, int, int]:
    """The method, the target, the minor version, and the index behind the line."""
    match = _REQUEST_LINE.match(head)
    if match is None:
        raise Refusal(BAD_REQUEST, "The request line cannot be read.")
    method, target, version = match.groups()
    minor = _MINOR_VERSIONS.get(version)
    if minor is None:
        raise Refusal(BAD_VERSION, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    if method == b"CONNECT":
        raise Refusal(NOT_IMPLEMENTED, "CONNECT is not offered here.")
    return method, target, minor, match.end()


class _Reading:
    """One pass over the fields of a request; the tables behind it say what each rule does."""

    __slots__ = ("hosts", "is_last_hop", "nominated", "request", "upgrade")

    def __init__(self, request: RequestHead) -> None:
        self.request = request
        self.hosts: list[bytes] = []
        self.nominated: tuple[bytes, ...] = ()  # by Connection
        self.upgrade = b""
        self.is_last_hop = False

    def read(self, lines: list[Line], *, trusted: bool) -> None:
        rules, passing = RULE_BY_NAME, self.request.lines
        actions, passing_rule = (_BELIEVED, Rule.FORWARDED_OTHER) if trusted else (_UNDERSTOOD, None)
        for line in lines:
            name, _, value = line.partition(b":")
            rule = rules[name]
            if rule is None or rule is passing_rule:
                passing.append(line)
            elif rule in actions:
                actions[rule](self, value.strip(b" \t"))
        self._settle()

    def host(self, value: bytes) -> None:
        self.hosts.append(value)

    def connection(self, value: bytes) -> None:
        self.nominated += tokens(value)

    def content_length(self, value: bytes) -> None:
        self.request.length_bytes = parse_length(value)

    def transfer_encoding(self, value: bytes) -> None:
        request, value = self.request, value.lower()
        if request.chunked or request.minor == 0:
            raise Refusal(BAD_REQUEST, "Transfer-Encoding is repeated, or in HTTP/1.0.")
        if value != b"chunked":
            *inner, last = (coding.strip(b" \t") for coding in value.split(b","))
            status = NOT_IMPLEMENTED if last == b"chunked" and _CODINGS.issuperset(inner) else BAD_REQUEST
            raise Refusal(status, "Transfer-Encoding is other than chunked.")
        request.chunked = True

    def upgrade_to(self, value: bytes) -> None:
        self.upgrade = value.lower() if not self.upgrade else b"several"

    def expect(self, value: bytes) -> None:
        if self.request.minor:
            self.request.lines.append(b"Expect: %b" % value)
            self.request.expects_continue |= value.lower() == b"100-continue"

    def max_forwards(self, value: bytes) -> None:
        """Count down, and forward no further than to zero: RFC 9110 section 7.6.2."""
        if self.request.method in _COUNTED and _DIGITS.fullmatch(value):
            self.is_last_hop |= int(value) == 0
            value = b"%d" % (int(value) - 1)
        self.request.lines.append(b"Max-Forwards: %b" % value)

    def date(self, value: bytes) -> None:
        self.request.lines.append(b"Date: %b" % value)

    def forwarded_for(self, value: bytes) -> None:
        hops = self.request.forwarded_for
        self.request.forwarded_for = b", ".join(filter(None, (hops, value)))

    def forwarded_proto(self, value: bytes) -> None:
        self.request.forwarded_proto = self.request.forwarded_proto or value

    def forwarded_host(self, value: bytes) -> None:
        self.request.forwarded_host = self.request.forwarded_host or value

    def request_id(self, value: bytes) -> None:
        self.request.request_id = self.request.request_id or value

    def request_start(self, value: bytes) -> None:
        self.request.request_start = self.request.request_start or value

    def _settle(self) -> None:
        """Draw the conclusions that need more than one field."""
        request, nominated = self.request, self.nominated
        if nominated:
            request.keep_alive = b"close" not in nominated and (request.minor == 1 or b"keep-alive" in nominated)
            request.lines = without(request.lines, nominated)
        else:
            request.keep_alive = request.minor == 1
        if self.upgrade:
            request.websocket = (
                self.upgrade == b"websocket"
                and b"upgrade" in nominated
                and request.method == b"GET"
                and request.minor == 1
                and not request.has_body
            )
        if len(self.hosts) != 1 and (self.hosts or request.minor):
            raise Refusal(BAD_REQUEST, "There must be one Host field.")
        request.host = self.hosts[0] if self.hosts else _host_in(request.target)
        if not _HOST.fullmatch(request.host):
            raise Refusal(BAD_REQUEST, "The Host field cannot be read.")
        if self.is_last_hop:
            raise Refusal(OK if request.method == b"OPTIONS" else NOT_IMPLEMENTED, "Max-Forwards ends here.")


_UNDERSTOOD: dict[Rule, Callable[[_Reading, bytes], None]] = {
    Rule.HOST: _Reading.host,
    Rule.CONNECTION: _Reading.connection,
    Rule.CONTENT_LENGTH: _Reading.content_length,
    Rule.TRANSFER_ENCODING: _Reading.transfer_encoding,
    Rule.UPGRADE: _Reading.upgrade_to,
    Rule.EXPECT: _Reading.expect,
    Rule.MAX_FORWARDS: _Reading.max_forwards,
    Rule.DATE: _Reading.date,
}
"""What is understood of anybody. Any other field that has a rule is not passed on."""

_BELIEVED: dict[Rule, Callable[[_Reading, bytes], None]] = {
    **_UNDERSTOOD,
    Rule.FORWARDED_FOR: _Reading.forwarded_for,
    Rule.FORWARDED_PROTO: _Reading.forwarded_proto,
    Rule.FORWARDED_HOST: _Reading.forwarded_host,
    Rule.REQUEST_ID: _Reading.request_id,
    Rule.REQUEST_START: _Reading.request_start,
}
"""What is believed of a trusted peer, too."""


def _settle_target(request: RequestHead) -> None:
    """Bring the target into origin form: RFC 9112 section 3.2."""
    target = request.target
    if target == b"*" and request.method == b"OPTIONS":
        return
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise Refusal(BAD_REQUEST, "The request target cannot be read.")
    if _authority(match[1]) != _authority(request.host):
        raise Refusal(BAD_REQUEST, "The request target and Host name different hosts.")
    path = match[2]
    if not path and request.method == b"OPTIONS":
        request.target = b"*"  # RFC 9112 section 3.2.4
    else:
        request.target = path if path[:1] == b"/" else b"/" + path


def _host_in(target: bytes) -> bytes:
    """The host of a request of HTTP/1.0 that has no field for it."""
    match = _ABSOLUTE.fullmatch(target)
    return match[1] if match else b"localhost"


def _authority(host: bytes) -> bytes:
    return host.lower().removesuffix(b":80").removesuffix(b":")
