"""WebSocket frames of one size, as RFC 6455 has them: a short text, masked by the client and not by the server."""

from __future__ import annotations

import base64
import hashlib
import re

PAYLOAD_BYTES = 32
CLIENT_BYTES = 6 + PAYLOAD_BYTES
SERVER_BYTES = 2 + PAYLOAD_BYTES
KEY = base64.b64encode(b"rainbowd's bench")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_FIELD = re.compile(rb"\r\nsec-websocket-key: *([^\r\n]+)\r\n", re.IGNORECASE)
_TEXT = 0x81
_MASKED = 0x80


def handshake(path: str) -> bytes:
    """The client's request."""
    return (
        b"GET %b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % (path.encode(), KEY)
    )


def acceptance(request: bytes) -> bytes:
    """The server's answer to a request's head."""
    found = _KEY_FIELD.search(request)
    accept = base64.b64encode(hashlib.sha1((found[1] if found else b"") + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )


def client_frame(text: bytes, mask: bytes) -> bytes:
    """A text of ``PAYLOAD_BYTES``, with a mask of four."""
    return bytes((_TEXT, _MASKED | PAYLOAD_BYTES)) + mask + _masked(text, mask)


def server_frame(text: bytes) -> bytes:
    """A text of ``PAYLOAD_BYTES``."""
    return bytes((_TEXT, PAYLOAD_BYTES)) + text


def answer_to(frame: bytes) -> bytes:
    """The server's frame with the text of a client's; another than a text's of this size is not answered."""
    if frame[:2] != bytes((_TEXT, _MASKED | PAYLOAD_BYTES)):
        return b""
    return server_frame(_masked(frame[6:], frame[2:6]))


def _masked(text: bytes, mask: bytes) -> bytes:
    whole = int.from_bytes(text) ^ int.from_bytes(mask * (PAYLOAD_BYTES // 4))
    return whole.to_bytes(PAYLOAD_BYTES)
