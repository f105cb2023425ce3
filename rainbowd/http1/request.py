"""The head of a request: parsed strictly, and serialised again for the app."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rainbowd.http1.body import NO_BODY, Body, LengthBody
from rainbowd.http1.chunked import ChunkedBody
from rainbowd.http1.errors import Refusal
from rainbowd.http1.fields import (
    RULE_BY_NAME,
    TOKENS_BY_VALUE,
    Line,
    Rule,
    parse_length,
    read_lines,
    remove_nominated,
)
from rainbowd.http1.request_line import read_request_line
from rainbowd.http1.target import choose_host, to_origin_form

if TYPE_CHECKING:
    from collections.abc import Callable

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2

_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"})  # RFC 9112 section 7.2
_CODINGS_BYTES = 64
"""How many bytes of a list of transfer codings are examined."""
_COUNTED = frozenset({b"OPTIONS", b"TRACE"})
_DIGITS = re.compile(rb"[0-9]{1,9}")
_SLASH = 0x2F

OK, BAD_REQUEST, TOO_LARGE, NOT_IMPLEMENTED = 200, 400, 431, 501


@dataclass(slots=True)
class RequestHead:
    """The parsed head of a request.

    Attributes:
        target: in origin form (or ``*``), byte for byte.
        minor: the minor version of HTTP: 0 or 1.
        host: the value of ``Host``.
        lines: the field lines that are relayed unchanged, in order.
        length_bytes: the value of ``Content-Length``; None without one.
        chunked: whether the body is chunked.
        keep_alive: whether the client may send another request after this one.
        expects_continue: whether the client waits for a 100 before it sends the body.
        is_websocket: whether the client requests an upgrade to WebSocket.
        accepts_trailers: whether ``TE`` has ``trailers``, without which some apps send none.
        forwarded_for, forwarded_proto, forwarded_host, request_id, request_start: the values of the fields with these
            names that a trusted peer sent; otherwise empty.
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
    is_websocket: bool = False
    accepts_trailers: bool = False
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
    def is_replayable(self) -> bool:
        """Whether the request can be sent a second time: it is idempotent, and consists of a head only."""
        return self.method in IDEMPOTENT and not self.has_body and not self.is_websocket

    def body(self, trailer_bytes: int = 65536) -> Body:
        """Return a decoder of the body, whose trailers may have ``trailer_bytes`` in all."""
        if self.chunked:
            return ChunkedBody(strict=True, trailer_bytes=trailer_bytes)
        return LengthBody(self.length_bytes) if self.length_bytes else NO_BODY

    def serialise(self, *, peer: bytes | None) -> bytes:
        """Return the head for the app, in HTTP/1.1, with the forwarded fields: RFC 9110 section 7.6.

        Args:
            peer: the client's IP address; None on a Unix socket.
        """
        lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (self.method, self.target, self.host), *self.lines]
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length_bytes is not None:
            lines.append(b"Content-Length: %d" % self.length_bytes)
        if self.is_websocket:
            lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
        elif self.accepts_trailers:
            lines.append(b"Connection: TE\r\nTE: trailers")
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
    """Parse one head, from its request line to its empty line.

    Args:
        head: a complete head, as ``find_request_head`` found it.
        trusted: whether the peer's forwarded fields are believed.
        fields_max: the largest number of field lines; None for no limit.

    Raises:
        Refusal: two parsers could read the head differently, or it exceeds a limit.
    """
    method, target, minor, end = read_request_line(head)
    try:
        lines = read_lines(head[end:])
        if fields_max is not None and len(lines) > fields_max:
            raise Refusal(TOO_LARGE, "The header has too many fields.")
        request = RequestHead(method, target, minor, b"", [])
        _FieldReader(request).read(lines, trusted=trusted)
    except ValueError as error:
        raise Refusal(BAD_REQUEST, f"The header cannot be read: {error}.") from None
    if target[0] != _SLASH:
        request.target = to_origin_form(target, method, request.host)
    return request


class _FieldReader:
    """One pass over the fields of a request, with a method for each rule of the tables below."""

    __slots__ = ("announced", "hosts", "is_last_hop", "nominated", "request", "upgrade")

    def __init__(self, request: RequestHead) -> None:
        self.request = request
        self.hosts: list[bytes] = []
        self.nominated: tuple[bytes, ...] = ()  # by Connection
        self.upgrade = b""
        self.announced = b""  # by Trailer
        self.is_last_hop = False

    def read(self, lines: list[Line], *, trusted: bool) -> None:
        rules, passing = RULE_BY_NAME, self.request.lines
        actions, passing_rule = (_TRUSTED_ACTIONS, Rule.FORWARDED_OTHER) if trusted else (_ACTIONS, None)
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
        self.nominated += TOKENS_BY_VALUE[value]

    def content_length(self, value: bytes) -> None:
        self.request.length_bytes = parse_length(value)

    def transfer_encoding(self, value: bytes) -> None:
        request, value = self.request, value.lower()
        if request.chunked or request.minor == 0:
            raise Refusal(BAD_REQUEST, "Transfer-Encoding is repeated, or in HTTP/1.0.")
        if value != b"chunked":
            *inner, last = (coding.strip(b" \t") for coding in value[:_CODINGS_BYTES].split(b","))
            status = NOT_IMPLEMENTED if last == b"chunked" and _CODINGS.issuperset(inner) else BAD_REQUEST
            raise Refusal(status, "Transfer-Encoding is other than chunked.")
        request.chunked = True

    def upgrade_to(self, value: bytes) -> None:
        self.upgrade = value.lower() if not self.upgrade else b"several"

    def te(self, value: bytes) -> None:
        self.request.accepts_trailers |= self.request.minor == 1 and b"trailers" in TOKENS_BY_VALUE[value]

    def trailer(self, value: bytes) -> None:
        self.announced = b", ".join(filter(None, (self.announced, value)))

    def expect(self, value: bytes) -> None:
        if self.request.minor:
            self.request.lines.append(b"Expect: %b" % value)
            self.request.expects_continue |= value.lower() == b"100-continue"

    def max_forwards(self, value: bytes) -> None:
        """Decrement ``Max-Forwards``, and do not forward the request if it was zero: RFC 9110 section 7.6.2."""
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
        """Set the attributes that depend on more than one field."""
        request, nominated = self.request, self.nominated
        if self.announced and request.chunked:
            request.lines.append(b"Trailer: %b" % self.announced)
        if nominated:
            request.keep_alive = b"close" not in nominated and (request.minor == 1 or b"keep-alive" in nominated)
            request.lines = remove_nominated(request.lines, nominated)
        else:
            request.keep_alive = request.minor == 1
        if self.upgrade:
            request.is_websocket = (
                self.upgrade == b"websocket"
                and b"upgrade" in nominated
                and request.method == b"GET"
                and request.minor == 1
                and not request.has_body
            )
        request.host = choose_host(self.hosts, request.target, request.minor)
        if self.is_last_hop:
            raise Refusal(OK if request.method == b"OPTIONS" else NOT_IMPLEMENTED, "Max-Forwards ends here.")


_ACTIONS: dict[Rule, Callable[[_FieldReader, bytes], None]] = {
    Rule.HOST: _FieldReader.host,
    Rule.CONNECTION: _FieldReader.connection,
    Rule.CONTENT_LENGTH: _FieldReader.content_length,
    Rule.TRANSFER_ENCODING: _FieldReader.transfer_encoding,
    Rule.UPGRADE: _FieldReader.upgrade_to,
    Rule.EXPECT: _FieldReader.expect,
    Rule.TE: _FieldReader.te,
    Rule.TRAILER: _FieldReader.trailer,
    Rule.MAX_FORWARDS: _FieldReader.max_forwards,
    Rule.DATE: _FieldReader.date,
}
"""The actions for fields of any client. Other fields that have a rule are not relayed."""

_TRUSTED_ACTIONS: dict[Rule, Callable[[_FieldReader, bytes], None]] = {
    **_ACTIONS,
    Rule.FORWARDED_FOR: _FieldReader.forwarded_for,
    Rule.FORWARDED_PROTO: _FieldReader.forwarded_proto,
    Rule.FORWARDED_HOST: _FieldReader.forwarded_host,
    Rule.REQUEST_ID: _FieldReader.request_id,
    Rule.REQUEST_START: _FieldReader.request_start,
}
"""The actions for fields of a trusted peer."""
