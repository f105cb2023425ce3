"""Every byte that there is, in every place of a request where one matters."""

from __future__ import annotations

import pytest

from rainbowd.http1 import Refusal, RequestHead, find_request_head, parse_request
from tests.smuggling.strict import Read, read_requests

LINES = [b"POST", b" ", b"/a", b" ", b"HTTP/1.", b"1", b"\r", b"\n", b"Host", b":", b" ", b"a", b"\r\n"]
FIELDS = [
    [b"Content-", b"Length", b":", b" ", b"5", b"\r", b"\n"],
    [b"Transfer-", b"Encoding", b":", b" ", b"chun", b"ked", b"\r", b"\n"],
    [b"X-Forwarded-", b"For", b":", b" ", b"192.0.2.1", b"\r", b"\n"],
    [b"Connect", b"ion", b":", b" ", b"close", b",", b" ", b"Cookie", b"\r", b"\n", b"Cookie: a\r\n"],
]
END, BODY = b"\r\n", b"5\r\nhello\r\n0\r\n\r\n"


def places() -> list[tuple[bytes, bytes]]:
    """What stands before and behind each place."""
    found = []
    for field in FIELDS:
        parts = [*LINES, *field, END, BODY]
        found += [(b"".join(parts[:at]), b"".join(parts[at:])) for at in range(len(LINES) + len(field) + 1)]
    return sorted(set(found))


def understood(data: bytes) -> RequestHead | None:
    """The head as we read it; None where we refuse it, or wait for more."""
    try:
        end = find_request_head(data, 0, None)
        head = parse_request(data[:end], trusted=True) if end >= 0 else None
    except Refusal:
        return None
    return head


def agree(head: RequestHead, read: Read) -> bool:
    """Whether a strict reader of what came read the same."""
    lengths, codings = read.all(b"content-length"), read.all(b"transfer-encoding")
    framing = (int(lengths[0]) if lengths else None, bool(codings))
    return (read.method, read.target, framing) == (head.method, head.target, (head.length_bytes, head.chunked))


@pytest.mark.parametrize("instead", [False, True])
def test_any_byte_anywhere_is_read_in_one_way_or_refused(instead: bool) -> None:
    passed = 0
    for before, after in places():
        for code in range(256):
            data = before + bytes([code]) + after[instead:]
            head = understood(data)
            if head is None:
                continue
            passed += 1
            requests, _ = read_requests(data + b"x" * 100)
            assert requests, data
            assert agree(head, requests[0]), data
            head.request_id, head.request_start = b"id", b"t=1"
            forwarded, _ = read_requests(
                head.serialise(peer=b"192.0.2.7") + (BODY if head.chunked else b"x" * (head.length_bytes or 0))
            )
            assert agree(head, forwarded[0]), data
    assert passed > 256  # each place has bytes that may stand there
