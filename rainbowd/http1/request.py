"""A request's head: read strictly, and serialised anew for the app."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rainbowd.http1.body import Body, ChunkedBody, EmptyBody, LengthBody
from rainbowd.http1.errors import Refusal
from rainbowd.http1.fields import RULE_BY_NAME, Field, Rule, is_protected, parse_fields, tokens

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])\r\n")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"})  # RFC 9112 section 7.2
_BARE_LF = re.compile(rb"(?<!\r)\n")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

BAD_REQUEST, TOO_LARGE, NOT_IMPLEMENTED, BAD_VERSION = 400, 431, 501, 505


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
    end = buffer.find(b"\r\n\r\n", max(searched - 3, 0))
    if limit_bytes is not None and (end if end >= 0 else len(buffer)) > limit_bytes:
        raise Refusal(TOO_LARGE, "The header is too large.")
    if end >= 0:
        return end + 4
    if _BARE_LF.search(buffer, searched):
        raise Refusal(BAD_REQUEST, "A line ends without a carriage return.")
    line_end = buffer.find(b"\r\n")
    if line_end < 0:
        if _CONTROL.search(buffer.removesuffix(b"\r"), searched):
            raise Refusal(BAD_REQUEST, "This is not an HTTP request.")
    elif line_end >= searched - 1:  # seen for the first time
        _match_request_line(bytes(buffer[: line_end + 2]))
    return -1


@dataclass(slots=True)
class RequestHead:
    """What rainbowd understood of a request's head.

    Attributes:
        minor: of its version: 0 or 1.
        target: in origin form (or ``*``), byte for byte.
        fields: those that pass to the app as they are, in order.
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
    fields: list[Field]
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
        return LengthBody(self.length_bytes) if self.length_bytes else EmptyBody()

    def serialise(self, *, peer: bytes | None) -> bytes:
        """The head for the app, in HTTP/1.1, with the forwarded fields: RFC 9110 section 7.6.

        Args:
            peer: the client's IP address; None on a Unix socket.
        """
        lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (self.method, self.target, self.host)]
        lines += [name + b": " + value for name, value in self.fields]
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length_bytes is not None:
            lines.append(b"Content-Length: %d" % self.length_bytes)
        if self.websocket:
            lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
        hops = [hop for hop in (self.forwarded_for, peer) if hop]
        if hops:
            lines.append(b"X-Forwarded-For: " + b", ".join(hops))
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
    match = _match_request_line(head)
    try:
        parsed = parse_fields(head[match.end() :])
    except ValueError as error:
        raise Refusal(BAD_REQUEST, f"The header cannot be read: {error}.") from None
    if fields_max is not None and len(parsed) > fields_max:
        raise Refusal(TOO_LARGE, "The header has too many fields.")
    request = RequestHead(match[1], match[2], match[4][0] - 0x30, b"", [])
    _Reading(request, trusted=trusted).read(parsed)
    _settle_target(request)
    return request


def _match_request_line(head: bytes) -> re.Match[bytes]:
    match = _REQUEST_LINE.match(head)
    if match is None:
        raise Refusal(BAD_REQUEST, "The request line cannot be read.")
    if match[3] != b"1" or match[4] not in b"01":
        raise Refusal(BAD_VERSION, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    if match[1] == b"CONNECT":
        raise Refusal(NOT_IMPLEMENTED, "CONNECT is not offered here.")
    return match


class _Reading:
    """One pass over the fields of a request."""

    __slots__ = ("hosts", "nominated", "request", "trusted", "upgrade")

    def __init__(self, request: RequestHead, *, trusted: bool) -> None:
        self.request = request
        self.trusted = trusted
        self.hosts: list[bytes] = []
        self.nominated: list[bytes] = []  # by Connection
        self.upgrade = b""

    def read(self, parsed: list[Field]) -> None:
        passing = self.request.fields
        rules = RULE_BY_NAME
        for name, value in parsed:
            value = value.rstrip(b" \t")  # noqa: PLW2901 - llhttp leaves trailing white space
            rule = rules[name]
            if rule is None:
                passing.append((name, value))
            else:
                self._apply(rule, name, value)
        self._settle()

    def _apply(self, rule: Rule, name: bytes, value: bytes) -> None:  # noqa: C901, PLR0912 - a flat table
        request = self.request
        if rule is Rule.HOST:
            self.hosts.append(value)
        elif rule is Rule.CONNECTION:
            self.nominated += tokens(value)
        elif rule is Rule.CONTENT_LENGTH:
            request.length_bytes = int(value)
        elif rule is Rule.TRANSFER_ENCODING:
            self._check_coding(value)
            request.chunked = True
        elif rule is Rule.UPGRADE:
            self.upgrade = value.lower() if not self.upgrade else b"several"
        elif rule is Rule.EXPECT:
            if request.minor:
                request.fields.append((name, value))
                request.expects_continue |= value.lower() == b"100-continue"
        elif not self.trusted:
            pass  # what follows is believed only from a trusted peer
        elif rule is Rule.FORWARDED_FOR:
            request.forwarded_for = b", ".join(filter(None, (request.forwarded_for, value)))
        elif rule is Rule.FORWARDED_PROTO:
            request.forwarded_proto = request.forwarded_proto or value
        elif rule is Rule.FORWARDED_HOST:
            request.forwarded_host = request.forwarded_host or value
        elif rule is Rule.REQUEST_ID:
            request.request_id = request.request_id or value
        elif rule is Rule.REQUEST_START:
            request.request_start = request.request_start or value
        elif rule is Rule.FORWARDED_OTHER:
            request.fields.append((name, value))

    def _check_coding(self, value: bytes) -> None:
        request = self.request
        if request.chunked or request.minor == 0:
            raise Refusal(BAD_REQUEST, "Transfer-Encoding is repeated, or in HTTP/1.0.")
        if value.lower() != b"chunked":
            *inner, last = (coding.strip(b" \t") for coding in value.lower().split(b","))
            status = NOT_IMPLEMENTED if last == b"chunked" and _CODINGS.issuperset(inner) else BAD_REQUEST
            raise Refusal(status, "Transfer-Encoding is other than chunked.")

    def _settle(self) -> None:
        """Draw the conclusions that need more than one field."""
        request, nominated = self.request, self.nominated
        request.keep_alive = b"close" not in nominated and (request.minor == 1 or b"keep-alive" in nominated)
        request.websocket = (
            self.upgrade == b"websocket"
            and b"upgrade" in nominated
            and request.method == b"GET"
            and request.minor == 1
            and not request.has_body
        )
        if nominated:
            dropped = {name for name in nominated if not is_protected(name)}
            request.fields = [field for field in request.fields if field[0].lower() not in dropped]
        if len(self.hosts) > 1 or (request.minor and not self.hosts):
            raise Refusal(BAD_REQUEST, "There must be one Host field.")
        request.host = self.hosts[0] if self.hosts else _host_in(request.target)
        if not _HOST.fullmatch(request.host):
            raise Refusal(BAD_REQUEST, "The Host field cannot be read.")


def _settle_target(request: RequestHead) -> None:
    """Bring the target into origin form: RFC 9112 section 3.2."""
    target = request.target
    if target[0] == 0x2F or (target == b"*" and request.method == b"OPTIONS"):  # noqa: PLR2004 - a slash
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
