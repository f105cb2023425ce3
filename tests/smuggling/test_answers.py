"""What the app sends, and what the client gets: each answer comes at once, and nothing of it reaches anybody else.

The app keeps every connection open, so that an answer that takes a time limit to be refused fails here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proxy.scripted import setting

if TYPE_CHECKING:
    from tests.proxy.scripted import Message

CHUNKED = b"Transfer-Encoding: chunked\r\n"
HELLO = b"Content-Length: 5\r\n\r\nhello"
HELLO_IN_CHUNKS = b"\r\n5\r\nhello\r\n0\r\n\r\n"

REPAIRED = {
    "one line in LF": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\nContent-Length: 5\r\n\r\nhello",
    "the last line in LF": b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello",
    "the empty line in LF": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello",
    "a CGI script behind a server": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\nContent-Length: 5\n\nhello",
    "all in LF": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "all in LF, in chunks": b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\r\nhello\r\n0\r\n\r\n",
    "the same length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + HELLO,
    "the same length as a list": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + CHUNKED + HELLO_IN_CHUNKS,
    "chunks and a longer length": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"Content-Length: 50\r\n" + HELLO_IN_CHUNKS,
    "chunks and the same length twice": b"HTTP/1.1 200 OK\r\n"
    + CHUNKED
    + b"Content-Length: 5\r\n" * 2
    + HELLO_IN_CHUNKS,
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + HELLO,
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + HELLO,
    "two spaces after the version": b"HTTP/1.1  200 OK\r\n" + HELLO,
    "a control byte in a value": b'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="a\x1fb.pdf"\r\n'
    + HELLO,
    "a control byte in the reason": b"HTTP/1.1 200 O\x01K\r\n" + HELLO,
}

REPAIRED_IN_THE_BODY = {
    "spaces after a chunk size": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5  \r\nhello\r\n0\t\r\n\r\n",
    "an extension without a name": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5;\r\nhello\r\n0;bad[=x\r\n\r\n",
    "a control byte in a trailer": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX: a\x01\r\n\r\n",
}

REFUSED = {
    "no HTTP": (b"<html>hello</html>", "it is not HTTP"),
    "HTTP/2 without a minor version": (b"HTTP/2 200 OK\r\n", "it is not HTTP"),
    "a status of four digits": (b"HTTP/1.1 2000", "it is not HTTP"),
    "an empty line first": (b"\r\nHTTP/1.1 200 OK\r\n" + HELLO, "status line cannot be read"),
    "NUL in a value": (b"HTTP/1.1 200 OK\r\nX: a\x00\r\n" + HELLO, "a line has a NUL byte"),
    "NUL before the end of the header": (b"HTTP/1.1 200 OK\r\nX: a\x00", "NUL byte"),
    "CR in a value": (b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n" + HELLO, "carriage return before its end"),
    "CR instead of a line end": (b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 5\r\rhello", "carriage return"),
    "a folded line": (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n" + HELLO, "a line begins with a space"),
    "a folded length": (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello", "a line begins with a space"),
    "a space before the colon": (b"HTTP/1.1 200 OK\r\nX : a\r\n" + HELLO, "a space comes before a colon"),
    "no colon": (b"HTTP/1.1 200 OK\r\nnonsense\r\n" + HELLO, "a line has no colon"),
    "different lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n" + HELLO, "Content-Length is repeated"),
    "a list of different lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello", "not a number"),
    "a length that is no number": (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "not a number"),
    "a control byte in the length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\x0b\r\n\r\nhello", "control character"),
    "a control byte in the coding": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n" + HELLO_IN_CHUNKS,
        "control character",
    ),
    "chunked twice": (b"HTTP/1.1 200 OK\r\n" + CHUNKED * 2 + HELLO_IN_CHUNKS, "Transfer-Encoding is not chunked"),
    "another coding": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n" + HELLO,
        "Transfer-Encoding is not chunked",
    ),
    "a chunk size that is none": (
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5 5\r\nhello\r\n",
        "a chunk size is not valid",
    ),
    "a space before the chunk size": (
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n 5\r\nhello",
        "a chunk size is not valid",
    ),
    "a chunk size in LF": (b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\nhello\r\n", "a chunk-size line ends without"),
    "a chunk that is longer than its size": (
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n4\r\nhello\r\n",
        "after its size",
    ),
    "a protocol nobody asked for": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "not asked for"),
}

Lines = list[tuple[str, str, dict[str, object]]]


async def answered(response: bytes) -> tuple[Message, bool]:
    """Return what a client gets if the app sends ``response``, and whether the app's connection was used again.

    Another client, which asks after that, gets its own answer.
    """
    async with setting(limits={"response_timeout": None}) as here:
        client, peer = await here.pair()
        await peer.send(response)
        message = await client.message()
        here.serve(peer)
        assert (await (await here.client()).ask()).body == b"ok"
        return message, here.app.accepted == 1


def check(message: Message) -> None:
    """See that it is the answer, in a form that everybody reads alike."""
    assert (message.line[:12], message.body) == (b"HTTP/1.1 200", b"hello")
    assert len(message.all(b"content-length") + message.all(b"transfer-encoding")) == 1
    assert not any(byte < 0x20 or byte == 0x7F for _, value in message.fields + message.trailers for byte in value)


@pytest.mark.parametrize("response", REPAIRED.values(), ids=REPAIRED)
async def test_it_is_repaired_and_the_connection_to_the_app_closed(response: bytes, lines: Lines) -> None:
    message, reused = await answered(response)
    check(message)
    assert not reused
    assert lines == []


@pytest.mark.parametrize("response", REPAIRED_IN_THE_BODY.values(), ids=REPAIRED_IN_THE_BODY)
async def test_it_is_repaired_and_the_connection_to_the_app_kept(response: bytes, lines: Lines) -> None:
    message, reused = await answered(response)
    check(message)
    assert reused
    assert lines == []


@pytest.mark.parametrize(("response", "why"), REFUSED.values(), ids=REFUSED)
async def test_it_is_refused_at_once_and_the_log_says_why(response: bytes, why: str, lines: Lines) -> None:
    message, reused = await answered(response)
    assert (message.status, reused) == (502, False)
    assert message.body == b"502 Bad Gateway: The app's answer was incomplete or not valid.\n"
    line = lines.pop()
    assert line[1] == "the app failed a request"
    assert why in str(line[2]["reason"])
