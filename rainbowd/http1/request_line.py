"""The start of a request: the end of its head, its request line, and bytes that are not HTTP/1."""

from __future__ import annotations

import re

from rainbowd.http1.errors import OtherProtocol, Refusal
from rainbowd.http1.fields import has_bare_lf

EMPTY_LINES_BYTES = 4096
"""How many bytes of empty lines may precede a request; old clients send one empty line after a body."""

BAD_REQUEST, TARGET_TOO_LONG, TOO_LARGE, NOT_IMPLEMENTED, BAD_VERSION = 400, 414, 431, 501, 505

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/([0-9]\.[0-9])\r\n")
_MINOR_VERSIONS = {b"1.0": 0} | {b"1.%d" % minor: 1 for minor in range(1, 10)}  # RFC 9110 section 2.5
_CONTROLS = bytes([*range(0x20), 0x7F])
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")

_OTHER_PROTOCOLS = (
    (b"\x16\x03", BAD_REQUEST, "This is TLS, but this port accepts plain HTTP only."),
    (b"PRI * HTTP/2.0\r\n", BAD_VERSION, "This is HTTP/2, but this port accepts HTTP/1.1 and HTTP/1.0 only."),
    (b"PROXY TCP", BAD_REQUEST, "This is the PROXY protocol, which is not supported."),
    (b"PROXY UNKNOWN", BAD_REQUEST, "This is the PROXY protocol, which is not supported."),
    (b"\x00\r\nQUIT\n", BAD_REQUEST, "This is the PROXY protocol, which is not supported."),  # v2, less empty lines
)


def find_request_head(buffer: bytes | bytearray, searched: int, limit_bytes: int | None) -> int:
    """Find the end of the head that ``buffer`` begins with.

    Args:
        buffer: bytes of the client that were not consumed yet.
        searched: how many bytes of it an earlier call has searched.
        limit_bytes: the largest head allowed; None for no limit.

    Returns:
        The index after the head, or -1 if it is incomplete.

    Raises:
        Refusal: the head is too large, or these bytes cannot become a request.
    """
    end = buffer.find(b"\r\n\r\n", searched - 3 if searched > 3 else 0)  # noqa: PLR2004
    if limit_bytes is not None and (end + 4 if end >= 0 else len(buffer)) > limit_bytes:
        if b"\r\n" not in buffer[:limit_bytes]:
            raise Refusal(TARGET_TOO_LONG, "The request target is too long.")
        raise Refusal(TOO_LARGE, "The header is too large.")
    if end >= 0:
        return end + 4
    if searched == 0:
        _refuse_other_protocols(buffer)
    if has_bare_lf(buffer, searched):
        raise Refusal(BAD_REQUEST, "A line ends without a carriage return.")
    line_end = buffer.find(b"\r\n")
    if line_end < 0:
        new = buffer[searched:].removesuffix(b"\r")
        if len(new.translate(None, _CONTROLS)) < len(new):
            raise Refusal(BAD_REQUEST, "This is not an HTTP request.")
    elif line_end >= searched - 1:  # found by this call
        read_request_line(bytes(buffer[: line_end + 2]))
    return -1


def skip_empty_lines(buffer: bytes) -> bytes:
    """Return ``buffer`` without the empty lines that it begins with: RFC 9112 section 2.2.

    Raises:
        Refusal: there are too many of them to be a mistake.
    """
    match = _EMPTY_LINES.match(buffer)
    if match is None:
        return buffer
    if match.end() > EMPTY_LINES_BYTES:
        raise Refusal(BAD_REQUEST, "There are too many empty lines before the request.")
    return buffer[match.end() :]


def read_request_line(head: bytes) -> tuple[bytes, bytes, int, int]:
    """Parse the request line that ``head`` begins with.

    Returns:
        The method, the target, the minor version of HTTP, and the index after the line.

    Raises:
        Refusal: it is invalid, has another version, or belongs to another protocol.
    """
    match = _REQUEST_LINE.match(head)
    if match is None:
        _refuse_other_protocols(head)
        raise Refusal(BAD_REQUEST, "The request line cannot be read.")
    method, target, version = match.groups()
    minor = _MINOR_VERSIONS.get(version)
    if minor is None:
        _refuse_other_protocols(head)
        raise Refusal(BAD_VERSION, "Only HTTP/1.0 and HTTP/1.1 are supported.")
    if method == b"CONNECT":
        raise Refusal(NOT_IMPLEMENTED, "CONNECT is not supported.")
    return method, target, minor, match.end()


def _refuse_other_protocols(buffer: bytes | bytearray) -> None:
    """Raise a refusal that names the protocol, if ``buffer`` begins like one that clients send by mistake."""
    for beginning, status, text in _OTHER_PROTOCOLS:
        if buffer.startswith(beginning):
            raise OtherProtocol(status, text)
