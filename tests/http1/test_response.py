from __future__ import annotations

import pytest

from rainbowd.http1 import (
    BadResponse,
    ChunkedBody,
    EmptyBody,
    LengthBody,
    ResponseHead,
    UntilCloseBody,
)
from rainbowd.http1 import read_response as read_head
from rainbowd.http1.response import HEAD_BYTES
from tests.http1.feeding import BYTE_BY_BYTE, WHOLE, in_any_pieces, read_response


def head(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n"


def parse(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    return read_response(head(*fields, line=line))[0]


def sent(response: ResponseHead, *, chunked: bool = False, connection: bytes = b"") -> list[bytes]:
    """The lines that the client gets."""
    data = response.serialise(chunked=chunked, connection=connection)
    assert data.endswith(b"\r\n\r\n")
    return data.removesuffix(b"\r\n\r\n").split(b"\r\n")


@in_any_pieces
@pytest.mark.parametrize("rest", [b"", b"body", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_head_is_read_and_what_follows_is_left(step: int, rest: bytes) -> None:
    response, left = read_response(
        head(b"Content-Length: 4", b"X: \xff", line=b"HTTP/1.1 404 Not \xe9 Found") + rest, step
    )
    assert left == rest
    assert (response.status, response.reason, response.minor) == (404, b"Not \xe9 Found", 1)
    assert (response.length_bytes, response.lines) == (4, [b"X: \xff"])


@pytest.mark.parametrize(
    ("line", "passed_on"),
    [
        (b"HTTP/1.1 299 Odd", b"HTTP/1.1 299 Odd"),
        (b"HTTP/1.1 599 Very  Odd", b"HTTP/1.1 599 Very  Odd"),
        (b"HTTP/1.1 200 ", b"HTTP/1.1 200 "),
        (b"HTTP/1.1 200", b"HTTP/1.1 200 "),
        (b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 999 Above", b"HTTP/1.1 999 Above"),
    ],
)
def test_status_and_reason_pass(line: bytes, passed_on: bytes) -> None:
    assert sent(parse(line=line))[0] == passed_on


def test_fields_pass_in_order_and_are_not_joined() -> None:
    fields = [b"Set-Cookie: a=1", b'ETag: "x"', b"Set-Cookie: b=2", b"Location: http://other/", b"Set-Cookie: a=1"]
    fields += [b"Content-Encoding: gzip", b"Trailer: Digest", b"X_Forwarded_For: odd", b"Host: odd"]
    assert sent(parse(*fields, b"Content-Length: 3"))[1:] == [*fields, b"Content-Length: 3"]


def test_hop_by_hop_fields_do_not_pass() -> None:
    fields = [
        b"Connection: keep-alive, X-Hop",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: close",
        b"TE: x",
        b"Upgrade: h2",
    ]
    response = parse(*fields, b"X-Hop: 1", b"X-Kept: 2", b"Content-Length: 0")
    assert sent(response)[1:] == [b"X-Kept: 2", b"Content-Length: 0"]


@pytest.mark.parametrize("step", [WHOLE, BYTE_BY_BYTE])
@pytest.mark.parametrize(
    "data",
    [
        head(line=b"HTTP/2 200 OK"),
        head(line=b"http/1.1 200 OK"),
        head(line=b"HTTP/1.1 20 OK"),
        head(line=b"HTTP/1.1 2000 OK"),
        head(line=b"HTTP/1.1 099 OK"),
        head(line=b"HTTP/1.1 +20 OK"),
        head(line=b"HTTP/1.1 200\tOK"),
        head(line=b"HTTP/1.1 200 O\x00K"),
        head(line=b"HTTP/1.1 200 O\rK"),
        head(line=b"ICY 200 OK"),
        head(line=b"SSH-2.0-OpenSSH"),
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        head(b"Content-Length: 3", b"Content-Length: 4"),
        head(b"Content-Length: 3, 4"),
        head(b"Content-Length: 3, "),
        head(b"Content-Length: 3", b"Content-Length: 03"),
        head(b"Content-Length: 3", b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        head(b"Content-Length: x", b"Transfer-Encoding: chunked"),
        head(b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked"),
        head(b"Content-Length: \x013"),
        head(b"Content-Length: 3\x0b"),
        head(b"Transfer-Encoding: \x0bchunked"),
        head(b"Transfer-Encoding: chunked\x01"),
        head(b"Connection: close\x01"),
        head(b"Transfer-Encoding:\n chunked"),
        head(b"Transfer-Encoding\n: chunked"),
        head(b"X: a\r\r"),
        head(b"X: a\n\tfolded"),
        head(b"X\x01: a"),
        head(b"x" * 257 + b": a"),
        head(*[b"X: a"] * 1001),
        head(b"Connection: " + b"a, " * 32),
        head(b"Content-Length: +3"),
        head(b"Content-Length: x"),
        head(b"Content-Length: 18446744073709551615"),
        head(b"Content-Length: 9223372036854775808"),
        head(b"Transfer-Encoding: gzip, chunked"),
        head(b"Transfer-Encoding: chunked, chunked"),
        head(b"Transfer-Encoding: identity"),
        head(b"Transfer-Encoding: \xa0chunked"),
        head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        head(b"X: a\rb"),
        head(b"X: a\rSet-Cookie: b"),
        head(b"X: a\r\n folded"),
        head(b"no colon"),
        head(b"X : a"),
        head(b"X: \x00"),
    ],
)
def test_what_clients_could_read_differently_is_refused(data: bytes, step: int) -> None:
    with pytest.raises(BadResponse):
        read_response(data, step)


@in_any_pieces
@pytest.mark.parametrize("rest", [b"", b"body", b"\n\nbody\r\n\r\n"])
@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"HTTP/1.1 200 OK\r\nX: y\n\r\n", [b"X: y"]),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n\n", [b"X: y"]),
        (b"HTTP/1.1 200 OK\r\nX: y\nZ: z\n\n", [b"X: y", b"Z: z"]),
        (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", [b"X: y"]),
        (b"HTTP/1.1 200 OK\nX: y\n\n", [b"X: y"]),
        (b"HTTP/1.1 200 OK\r\n\n", []),
        (b"HTTP/1.1 200 OK\n\r\n", []),
        (b"HTTP/1.1 200 OK\n\n", []),
        (head(b"X: y", line=b"HTTP/1.1  200 OK"), [b"X: y"]),
        (head(b"X: a\x01b\x0b\x0c\x1f\x1b\x7fc\td"), [b"X: a b     c\td"]),
        (head(b"Content-Length: 4", b"X: y", b"content-length:4 "), [b"X: y", b"Content-Length: 4"]),
        (head(b"Content-Length: 4, 4,4", b"X: y"), [b"X: y", b"Content-Length: 4"]),
        (head(b"Content-Length: 4", b"Transfer-Encoding: chunked"), [b"Transfer-Encoding: chunked"]),
        (head(b"Transfer-Encoding: chunked", *[b"Content-Length: 4"] * 2), [b"Transfer-Encoding: chunked"]),
    ],
)
def test_what_can_be_read_in_one_way_only_is_repaired(data: bytes, lines: list[bytes], rest: bytes, step: int) -> None:
    response, left = read_response(data + rest, step)
    assert left == rest
    framing = sent(response, chunked=response.chunked)
    assert framing[0] == b"HTTP/1.1 200 OK"
    assert framing[1:] == lines


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 3\n\n",
        head(b"Content-Length: 3", b"Content-Length: 3"),
        head(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        head(b"Content-Length: 3", b"X: \x01"),
        head(b"Content-Length: 3", b"Connection: keep-alive", line=b"HTTP/2.0 200 OK"),
        head(b"Content-Length: 3", line=b"HTTP/1.1  200 OK"),
    ],
)
def test_the_connection_of_a_repaired_response_is_not_used_again(data: bytes) -> None:
    assert not read_response(data)[0].keep_alive


@pytest.mark.parametrize(
    ("line", "minor"),
    [(b"HTTP/2.0 200 OK", 1), (b"HTTP/1.2 200 OK", 1), (b"HTTP/3.1 200", 1), (b"HTTP/0.9 200 OK", 0)],
)
def test_any_version_is_read(line: bytes, minor: int) -> None:
    response = parse(b"Transfer-Encoding: chunked", line=line)
    assert (response.status, response.minor, response.chunked, response.keep_alive) == (200, minor, True, False)


def test_control_bytes_in_a_reason_become_spaces() -> None:
    assert parse(line=b"HTTP/1.1 404 a\x1bb\x7f").reason == b"a b "


@pytest.mark.parametrize(
    "data",
    [
        *(b"garbage", b"\x00", b"HX", b"HTTP/2 ", b"HTTP/1.1 abc\r\n", b"\n", b"<html>\n", b"HTTP/1.1 200\t"),
        *(b"HTTP/1.1 200 OK\r\nX: \x00", b"HTTP/1.1 200 OK\r\nX: a\rb", b"HTTP/1.1 200 OK\r\nX: a\r\r\n"),
        *(b"HTTP/1.1 200 O\x00", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 2000", b"HTTP/1.1 0"),
    ],
)
@pytest.mark.parametrize("step", [WHOLE, BYTE_BY_BYTE])
def test_what_cannot_become_a_response_is_refused_before_its_end(data: bytes, step: int) -> None:
    with pytest.raises(BadResponse):
        read_response(data, step)


@pytest.mark.parametrize("step", [WHOLE, 5000])
def test_a_head_that_is_too_long_is_refused(step: int) -> None:
    with pytest.raises(BadResponse, match="too large"):
        read_response(head(b"X: " + b"x" * HEAD_BYTES), step)
    with pytest.raises(BadResponse, match="too large"):
        read_response(b"HTTP/1.1 200 " + b"x" * (HEAD_BYTES + 5000), step)


@pytest.mark.parametrize(
    "data",
    [b"", b"H", b"HTTP/2", b"HTTP/1.1  2", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r", b"HTTP/1.1 200 OK\r\nX: y\r\n\r"],
)
def test_a_head_that_may_become_whole_is_waited_for(data: bytes) -> None:
    assert not data or read_head(data, 0) is None


@pytest.mark.parametrize(
    ("line", "fields", "method", "kind"),
    [
        (b"HTTP/1.1 200 OK", [], b"GET", UntilCloseBody),
        (b"HTTP/1.0 200 OK", [], b"GET", UntilCloseBody),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 3"], b"GET", LengthBody),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], b"GET", ChunkedBody),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: CHUNKED"], b"GET", ChunkedBody),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 3"], b"HEAD", EmptyBody),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], b"HEAD", EmptyBody),
        (b"HTTP/1.1 200 OK", [], b"HEAD", EmptyBody),
        (b"HTTP/1.1 204 No Content", [b"Content-Length: 3"], b"GET", EmptyBody),
        (b"HTTP/1.1 204 No Content", [b"Transfer-Encoding: chunked"], b"GET", EmptyBody),
        (b"HTTP/1.1 304 Not Modified", [b"Content-Length: 3"], b"GET", EmptyBody),
        (b"HTTP/1.1 304 Not Modified", [b"Transfer-Encoding: chunked"], b"GET", EmptyBody),
    ],
)
def test_where_the_body_ends(line: bytes, fields: list[bytes], method: bytes, kind: type) -> None:
    assert isinstance(parse(*fields, line=line).body(method), kind)


def test_a_length_without_a_body_is_kept_if_it_describes_another_response() -> None:
    assert b"Content-Length: 3" in sent(parse(b"Content-Length: 3", line=b"HTTP/1.1 304 Not Modified"))
    assert sent(parse(b"Content-Length: 3", line=b"HTTP/1.1 204 No Content"))[1:] == []


def test_interim_responses_are_distinguished_from_final_ones() -> None:
    assert [parse(line=b"HTTP/1.1 %d x" % status).is_interim for status in (100, 102, 103, 101, 200)] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("line", "fields", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK", [], True),
        (b"HTTP/1.1 200 OK", [b"Connection: close"], False),
        (b"HTTP/1.0 200 OK", [], False),
        (b"HTTP/1.0 200 OK", [b"Connection: keep-alive"], True),
        (b"HTTP/1.0 200 OK", [b"Connection: keep-alive", b"Transfer-Encoding: chunked"], False),
    ],
)
def test_whether_the_app_keeps_its_connection(line: bytes, fields: list[bytes], keep_alive: bool) -> None:
    assert parse(*fields, line=line).keep_alive is keep_alive


@pytest.mark.parametrize("line", [b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 426 Upgrade Required"])
def test_the_protocol_that_is_switched_to_is_known(line: bytes) -> None:
    response = parse(b"Upgrade: WebSocket", b"Connection: Upgrade", line=line)
    assert response.upgrade == b"WebSocket"
    assert sent(response, chunked=False, connection=b"close")[-2:] == [
        b"Upgrade: WebSocket",
        b"Connection: Upgrade, close",
    ]
    assert parse(line=line).upgrade == b""


def test_an_upgrade_that_is_merely_offered_is_not_passed_on() -> None:
    response = parse(b"Upgrade: h2c", b"Connection: Upgrade")
    assert (response.upgrade, response.lines) == (b"", [])


def test_framing_is_serialised_again() -> None:
    response = parse(b"Transfer-Encoding: chunked", b"X: y")
    assert sent(response, chunked=True, connection=b"close")[1:] == [
        b"X: y",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
    ]
    assert sent(response)[1:] == [b"X: y"]
