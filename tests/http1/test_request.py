from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbowd.http1 import (
    ChunkedBody,
    EmptyBody,
    LengthBody,
    OtherProtocol,
    Refusal,
    RequestHead,
    find_request_head,
    skip_empty_lines,
)
from tests.http1.feeding import BYTE_BY_BYTE, WHOLE, in_any_pieces, read_request

WEBSOCKET = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a2V5"]


def head(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"app.example") -> bytes:
    """A head, with a Host field unless ``host`` is None."""
    hosts = () if host is None else (b"Host: " + host,)
    return b"\r\n".join([line, *hosts, *fields]) + b"\r\n\r\n"


def parse(
    *fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"app.example", trusted: bool = False
) -> RequestHead:
    return read_request(head(*fields, line=line, host=host), trusted=trusted)[0]


def sent(request: RequestHead, peer: bytes | None = b"192.0.2.7") -> tuple[bytes, list[bytes]]:
    """The request line and the field lines that the app gets."""
    request.request_id, request.request_start = request.request_id or b"id", request.request_start or b"t=1.000"
    data = request.serialise(peer=peer)
    assert data.endswith(b"\r\n\r\n")
    line, *fields = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    return line, fields


def names(lines: list[bytes]) -> list[bytes]:
    return [line.partition(b":")[0].lower() for line in lines]


def status_of(data: bytes, step: int = WHOLE, limit_bytes: int = 65536) -> int:
    with pytest.raises(Refusal) as refused:
        read_request(data, step, limit_bytes=limit_bytes)
    return refused.value.status


# --- what is read -----------------------------------------------------------------------------------------------------


@in_any_pieces
@pytest.mark.parametrize("rest", [b"", b"body or the next request", b"\r\n\r\n"])
def test_a_head_is_read_and_what_follows_is_left(step: int, rest: bytes) -> None:
    data = head(b"Cookie: a=b", b"X-Odd:  two  spaces \t", line=b"POST //a/../%2F?x=a;b&c=%zz HTTP/1.1")
    request, left = read_request(data + rest, step)
    assert left == rest
    assert (request.method, request.target, request.minor) == (b"POST", b"//a/../%2F?x=a;b&c=%zz", 1)
    assert request.host == b"app.example"
    assert request.lines == [b"Cookie: a=b", b"X-Odd:  two  spaces \t"]


@pytest.mark.parametrize(
    "target", [b"/\x80\xff", b"/%", b"/a\\b|{}", b"/?[]='\"<>", b"/a#b", b"//", b"/" + b"x" * 20_000]
)
def test_a_target_passes_byte_for_byte(target: bytes) -> None:
    line, _ = sent(parse(line=b"GET " + target + b" HTTP/1.1"))
    assert line == b"GET " + target + b" HTTP/1.1"


@pytest.mark.parametrize("method", [b"PROPFIND", b"BREW", b"M-SEARCH", b"get", b"X" * 40])
def test_an_unusual_method_passes(method: bytes) -> None:
    assert sent(parse(line=method + b" / HTTP/1.1"))[0] == method + b" / HTTP/1.1"


def test_asterisk_is_a_target_for_options_alone() -> None:
    assert parse(line=b"OPTIONS * HTTP/1.1").target == b"*"
    assert status_of(head(line=b"GET * HTTP/1.1")) == 400


def test_obsolete_text_is_kept() -> None:
    assert b"X: \x80\xe9\xff" in sent(parse(b"X: \x80\xe9\xff"))[1]


def test_repeated_fields_keep_their_order_and_spelling() -> None:
    request = parse(b"accept: a", b"X: 1", b"ACCEPT: b")
    assert request.lines == [b"accept: a", b"X: 1", b"ACCEPT: b"]


def test_only_fields_about_the_origin_of_the_request_are_added() -> None:
    assert names(sent(parse())[1]) == [
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-request-id",
        b"x-request-start",
    ]


# --- refusals ---------------------------------------------------------------------------------------------------------

TWICE = b"Content-Length: 3\r\nContent-Length: "


@pytest.mark.parametrize("step", [WHOLE, BYTE_BY_BYTE])
@pytest.mark.parametrize("rest", [b"", b"abc"])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400),
        (head(b"Transfer-Encoding: chunked", b"Content-Length: 3"), 400),
        (head(TWICE + b"3"), 400),
        (head(TWICE + b"4"), 400),
        (head(b"Content-Length: 3, 3"), 400),
        (head(b"Content-Length: +3"), 400),
        (head(b"Content-Length: -3"), 400),
        (head(b"Content-Length: 0x3"), 400),
        (head(b"Content-Length: 3 3"), 400),
        (head(b"Content-Length:"), 400),
        (head(b"Content-Length: 18446744073709551616"), 400),
        (head(b"Content-Length: 18446744073709551615"), 400),
        (head(b"Content-Length: 9223372036854775808"), 400),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\nContent-Length: 3\r\n\r\n", 400),
        (head(b"X: b\r\n c"), 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (head(b"X : b"), 400),
        (head(b"Transfer-Encoding : chunked"), 400),
        (head(b"X y: b"), 400),
        (head(b": b"), 400),
        (head(b"X"), 400),
        (head(b"X: \x00"), 400),
        (head(b"X: a\rb"), 400),
        (head(b"X: \x7f"), 400),
        (head(b"X\x01: b"), 400),
        (head(line=b"GET /a b HTTP/1.1"), 400),
        (head(line=b"GET /a\tb HTTP/1.1"), 400),
        (head(line=b"GET /\x00 HTTP/1.1"), 400),
        (head(line=b"GET /\x7f HTTP/1.1"), 400),
        (head(line=b"GET /a\rb HTTP/1.1"), 400),
        (head(line=b"GET  / HTTP/1.1"), 400),
        (head(line=b"GET / HTTP/1.1 "), 400),
        (head(line=b" GET / HTTP/1.1"), 400),
        (head(line=b"GET\t/ HTTP/1.1"), 400),
        (head(line=b"G(T / HTTP/1.1"), 400),
        (head(line=b"GET / http/1.1"), 400),
        (head(line=b"GET / HTTP/1.10"), 400),
        (head(line=b"GET / HTTP/11"), 400),
        (head(line=b"GET a HTTP/1.1"), 400),
        (head(line=b"GET /"), 400),
        (head(line=b"GET"), 400),
        (head(line=b"GET / HTTP/0.9"), 505),
        (head(line=b"GET / HTTP/3.1"), 505),
        (head(line=b"GET / HTTP/2.0"), 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (head(line=b"CONNECT app.example:443 HTTP/1.1"), 501),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x00", 400),
    ],
)
def test_what_parsers_read_differently_or_cannot_read_is_refused(
    data: bytes, status: int, rest: bytes, step: int
) -> None:
    assert status_of(data + rest, step) == status


@pytest.mark.parametrize("step", [WHOLE, BYTE_BY_BYTE])
@pytest.mark.parametrize(
    "hosts",
    [
        (),
        (b"Host: a", b"Host: a"),
        (b"Host: a", b"host: b"),
        (b"Host:",),
        (b"Host: a b",),
        (b"Host: a/b",),
        (b"Host: user@a",),
        (b"Host: a%",),
        (b"Host: a%:80",),
        (b"Host: a%2",),
        (b"Host: a%zz",),
        (b"Host: a\\b",),
        (b'Host: "a"',),
        (b"Host: a?b",),
        (b"Host: [fe80::1%eth0]",),
        (b"Host: [fe80::1%25]",),
        (b"Host: a:b",),
        (b"Host: a:123456",),
        (b"Host: a:1:2",),
        (b"Host: ::1",),
        (b"Host: [::1",),
        (b"Host: [::1]x",),
        (b"Host: [g]",),
        (b"Host: http://a",),
    ],
)
def test_a_missing_repeated_or_malformed_host_is_refused(hosts: tuple[bytes, ...], step: int) -> None:
    assert status_of(head(*hosts, host=None), step) == 400


@pytest.mark.parametrize(
    "host",
    [
        *(b"a", b"A.example", b"a.example:80", b"192.0.2.1:1", b"[::1]:7000", b"[2001:db8::1]", b"a_b", b"a:"),
        *(b"a%20b", b"%2Fvar%2Frun%2Fapp.sock", b"a!$&'()*+,;=b:80", b"[fe80::1%25eth0]", b"[fe80::1%25eth0]:80"),
        "b\xfccher.example".encode(),
    ],
)
def test_a_host_passes_unchanged(host: bytes) -> None:
    lines = sent(parse(host=host))[1]
    assert lines[0] == b"Host: " + host
    assert b"X-Forwarded-Host: " + host in lines


def test_http_1_0_is_forwarded_with_a_host_in_any_case() -> None:
    line, fields = sent(parse(line=b"GET / HTTP/1.0", host=None))
    assert (line, fields[0]) == (b"GET / HTTP/1.1", b"Host: localhost")
    assert sent(parse(line=b"GET / HTTP/1.0", host=b""))[1][0] == b"Host: localhost"
    assert sent(parse(line=b"GET http://app.example/ HTTP/1.0", host=b""))[1][0] == b"Host: app.example"
    assert sent(parse(line=b"GET / HTTP/1.0"))[1][0] == b"Host: app.example"


@pytest.mark.parametrize("version", [b"HTTP/1.2", b"HTTP/1.9"])
def test_a_higher_minor_version_is_read_as_1_1(version: bytes) -> None:
    request = parse(b"Transfer-Encoding: chunked", line=b"POST / " + version)
    assert (request.minor, request.keep_alive, request.chunked) == (1, True, True)
    assert sent(request)[0] == b"POST / HTTP/1.1"
    assert status_of(head(line=b"GET / " + version, host=None)) == 400


@pytest.mark.parametrize("step", [WHOLE, 12])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", "TLS"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + head(), "PROXY protocol"),
        (b"PROXY UNKNOWN\r\n" + head(), "PROXY protocol"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x7f\x00\x00\x01" * 3 + head(), "PROXY protocol"),
    ],
)
def test_another_protocol_is_named(data: bytes, words: str, step: int) -> None:
    with pytest.raises(OtherProtocol, match=words):
        read_request(skip_empty_lines(data), step)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([b"Content-Length: 1", b"Content-Length: 1"], "Content-Length is repeated"),
        ([b"Content-Length: 1", b"Transfer-Encoding: chunked"], "it has both Content-Length and Transfer-Encoding"),
        ([b"Content-Length: +1"], "Content-Length is not a number"),
        ([b"Content-Length: 99999999999999999999"], "Content-Length is too large"),
        ([b"X: a\r\n b"], "a line begins with a space"),
        ([b"X : a"], "a space comes before a colon"),
        ([b"X"], "a line has no colon"),
        ([b"X: a\x01"], "a field value has a control character"),
        ([b"X: a\rb"], "a line has a carriage return before its end"),
        ([b"X(: a"], "a field name has a character that is not allowed"),
        ([b"X: a\nY: b"], "a line ends without a carriage return"),
        ([b"x" * 257 + b": a"], "a field name is too long"),
        ([b"Connection: " + b"a," * 32], "Connection or TE has too many options"),
        ([b"Connection: " + b"a," * 31, b"Connection: a, b"], "Connection or TE has too many options"),
    ],
)
def test_a_refusal_names_the_fault_in_plain_words(fields: list[bytes], text: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(*fields)
    assert refused.value.text == f"The header cannot be read: {text}."


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"gzip, chunked", 501),
        (b"gzip,chunked", 501),
        (b"Deflate , CHUNKED", 501),
        (b"gzip", 400),
        (b"identity", 400),
        (b"\xa0chunked", 400),
        (b"xchunked", 400),
        (b"chunkedx", 400),
        (b"x chunked", 400),
        (b"\x0bchunked", 400),
        (b"chunked, chunked", 400),
        (b"chunked, gzip", 400),
        (b"chunked;q=1", 400),
        (b'"chunked"', 400),
        (b"chunked,", 400),
        (b",chunked", 400),
        (b"gzip \xa0, chunked", 400),
        (b"", 400),
    ],
)
def test_a_coding_other_than_a_lone_chunked_is_refused(value: bytes, status: int) -> None:
    assert status_of(head(b"Transfer-Encoding: " + value, line=b"POST / HTTP/1.1")) == status


def test_a_repeated_coding_is_refused() -> None:
    assert status_of(head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")) == 400
    assert status_of(head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip")) == 400


def test_a_coding_in_http_1_0_is_refused() -> None:
    assert status_of(head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0")) == 400


@pytest.mark.parametrize("step", [WHOLE, 1000])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(b"X: " + b"x" * 10_000), 431),
        (head(*(b"X: %d" % number for number in range(2000))), 431),
        (b"GET /" + b"x" * 10_000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000, 431),
        (b"x" * 10_000, 414),
    ],
)
def test_a_head_beyond_the_limit_is_refused_as_soon_as_it_is_seen(data: bytes, status: int, step: int) -> None:
    assert status_of(data, step, limit_bytes=4096) == status


@pytest.mark.parametrize("step", [WHOLE, BYTE_BY_BYTE])
def test_a_head_may_be_as_long_as_the_limit_with_its_empty_line(step: int) -> None:
    data = head(b"X: y")
    assert read_request(data, step, limit_bytes=len(data))[0].lines == [b"X: y"]
    assert status_of(data, step, limit_bytes=len(data) - 1) == 431


def test_too_many_fields_are_refused() -> None:
    many = [b"X: %d" % number for number in range(128)]
    assert status_of(head(*many)) == 431
    assert len(parse(*many[:127]).lines) == 127
    assert len(read_request(head(*many), fields_max=None)[0].lines) == 128


def test_a_head_without_limits_may_be_long() -> None:
    request, _ = read_request(head(b"X: " + b"x" * 200_000), limit_bytes=None)
    assert len(request.lines[0]) == len(b"X: ") + 200_000


@pytest.mark.parametrize(
    "data", [b"", b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r"]
)
def test_a_head_that_may_become_whole_is_waited_for(data: bytes) -> None:
    assert find_request_head(data, 0, 65536) == -1


# --- absolute form ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "host", "origin"),
    [
        (b"http://app.example/a?b", b"app.example", b"/a?b"),
        (b"HTTP://APP.example/a", b"app.example", b"/a"),
        (b"http://app.example:80/", b"app.example", b"/"),
        (b"http://app.example", b"app.example:80", b"/"),
        (b"http://app.example?q=/", b"app.example", b"/?q=/"),
        (b"http://app.example:8080//a", b"app.example:8080", b"//a"),
        (b"https://app.example/", b"app.example", b"/"),
        (b"https://app.example:443/", b"app.example", b"/"),
        (b"https://app.example/", b"app.example:443", b"/"),
        (b"https://app.example:80/", b"app.example:80", b"/"),
        (b"http://[::1]:7000/a", b"[::1]:7000", b"/a"),
    ],
)
def test_absolute_form_becomes_origin_form(target: bytes, host: bytes, origin: bytes) -> None:
    line, fields = sent(parse(line=b"GET " + target + b" HTTP/1.1", host=host))
    assert line == b"GET " + origin + b" HTTP/1.1"
    assert [field for field in fields if field.startswith(b"Host:")] == [b"Host: " + host]


def test_options_in_absolute_form_without_a_path_asks_about_the_whole_server() -> None:
    assert parse(line=b"OPTIONS http://app.example HTTP/1.1").target == b"*"
    assert parse(line=b"OPTIONS http://app.example/ HTTP/1.1").target == b"/"


@pytest.mark.parametrize(
    "target",
    [
        b"http://other.example/",
        b"http://app.example:8080/",
        b"https://app.example:80/",
        b"http://app.example:443/",
        b"http://user@app.example/",
        b"http://user:secret@app.example/",
        b"http://app.example@other.example/",
        b"http:///",
        b"http://",
        b"http:/app.example/",
        b"ftp://app.example/",
        b"app.example/",
        b"app.example:80",
        b"?a=b",
    ],
)
def test_a_target_that_names_something_else_is_refused(target: bytes) -> None:
    assert status_of(head(line=b"GET " + target + b" HTTP/1.1")) == 400


def test_absolute_form_in_http_1_0_names_the_host_if_no_field_does() -> None:
    request = parse(line=b"GET http://app.example/a HTTP/1.0", host=None)
    assert (request.host, request.target) == (b"app.example", b"/a")
    assert status_of(head(line=b"GET http://user@app.example/a HTTP/1.0", host=None)) == 400


# --- hop by hop -------------------------------------------------------------------------------------------------------


def test_hop_by_hop_fields_do_not_pass() -> None:
    request = parse(
        b"Connection: X-Hop, keep-alive, x-other",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"TE: gzip",
        b"Trailer: Digest",
        b"X-HOP: 1",
        b"X-Other: 2",
        b"X-Kept: 3",
    )
    assert request.lines == [b"X-Kept: 3"]


@pytest.mark.parametrize("fields", [(b"TE: trailers", b"Connection: TE"), (b"te: deflate;q=0.5, Trailers",)])
def test_a_client_that_takes_trailers_is_known_to_the_app(fields: tuple[bytes, ...]) -> None:
    lines = sent(parse(*fields))[1]
    assert [line for line in lines if line.startswith((b"TE", b"Connection"))] == [b"Connection: TE", b"TE: trailers"]


@pytest.mark.parametrize("line", [b"GET / HTTP/1.0", b"GET / HTTP/1.1"])
@pytest.mark.parametrize("te", [b"trailers", b"trailersx", b"deflate", b""])
def test_nothing_else_of_te_passes(line: bytes, te: bytes) -> None:
    lines = sent(parse(b"TE: " + te, line=line))[1]
    assert (b"TE: trailers" in lines) is (te == b"trailers" and line.endswith(b"1.1"))
    assert len([name for name in names(lines) if name == b"te"]) <= 1


def test_trailers_are_announced_if_they_can_follow() -> None:
    chunked = parse(b"Trailer: X-Sum", b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1")
    assert chunked.lines == [b"Trailer: X-Sum"]
    assert parse(b"Trailer: X-Sum", b"Content-Length: 3", line=b"POST / HTTP/1.1").lines == []


def test_connection_cannot_remove_what_the_app_trusts() -> None:
    nominated = b"Connection: close, Host, X-Forwarded-For, X-Forwarded-Proto, X-Real-IP, Content-Length, X-Request-ID"
    lines = sent(
        parse(nominated, b"Content-Length: 3", b"X-Real-IP: 192.0.2.1", line=b"POST / HTTP/1.1", trusted=True)
    )[1]
    assert {b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"content-length", b"x-request-id"} <= set(
        names(lines)
    )


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("instead", list(b"_.!#$%&'*+^`|~"))
def test_spellings_that_apps_read_as_trusted_names_never_pass(instead: int, trusted: bool) -> None:
    names = [b"X-Forwarded-For", b"X-Real-IP", b"Client-IP", b"X-Request-ID", b"Content-Length", b"X-Mine"]
    odd = [name.replace(b"-", bytes([instead])) + b": 1" for name in names]
    assert parse(*odd, trusted=trusted).lines == odd[-1:]


@pytest.mark.parametrize(
    ("line", "connection", "keep_alive"),
    [
        (b"GET / HTTP/1.1", None, True),
        (b"GET / HTTP/1.1", b"close", False),
        (b"GET / HTTP/1.1", b"Keep-Alive, CLOSE", False),
        (b"GET / HTTP/1.0", None, False),
        (b"GET / HTTP/1.0", b"Keep-Alive", True),
        (b"GET / HTTP/1.0", b"keep-alive, close", False),
    ],
)
def test_whether_another_request_follows(line: bytes, connection: bytes | None, keep_alive: bool) -> None:
    fields = () if connection is None else (b"Connection: " + connection,)
    assert parse(*fields, line=line).keep_alive is keep_alive


def test_expect_passes_in_http_1_1_alone() -> None:
    request = parse(b"Expect: 100-Continue", b"Content-Length: 3", line=b"POST / HTTP/1.1")
    assert request.expects_continue
    assert b"Expect: 100-Continue" in request.lines
    old = parse(b"Expect: 100-continue", b"Content-Length: 3", line=b"POST / HTTP/1.0")
    assert not old.expects_continue
    assert old.lines == []


@pytest.mark.parametrize(
    ("line", "value", "passed"),
    [
        (b"OPTIONS / HTTP/1.1", b"3", b"2"),
        (b"TRACE / HTTP/1.1", b"1", b"0"),
        (b"OPTIONS / HTTP/1.1", b"many", b"many"),
        (b"GET / HTTP/1.1", b"0", b"0"),
    ],
)
def test_max_forwards_is_decremented_for_the_methods_that_use_it(line: bytes, value: bytes, passed: bytes) -> None:
    assert parse(b"Max-Forwards: " + value, line=line).lines == [b"Max-Forwards: " + passed]


@pytest.mark.parametrize(("method", "status"), [(b"OPTIONS", 200), (b"TRACE", 501)])
def test_a_request_that_is_to_be_forwarded_no_further_is_answered(method: bytes, status: int) -> None:
    assert status_of(head(b"Max-Forwards: 0", line=method + b" / HTTP/1.1")) == status


# --- upgrades ---------------------------------------------------------------------------------------------------------


def test_websocket_upgrades_are_serialised_again() -> None:
    request = parse(*WEBSOCKET)
    assert request.is_websocket
    assert not request.is_replayable
    lines = sent(request)[1]
    assert [line for line in lines if line.startswith((b"Connection", b"Upgrade"))] == [
        b"Connection: Upgrade",
        b"Upgrade: websocket",
    ]
    assert b"Sec-WebSocket-Key: a2V5" in lines


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"POST / HTTP/1.1", WEBSOCKET),
        (b"GET / HTTP/1.0", WEBSOCKET),
        (b"GET / HTTP/1.1", [b"Upgrade: websocket"]),
        (b"GET / HTTP/1.1", [b"Upgrade: websocket", b"Connection: keep-alive"]),
        (b"GET / HTTP/1.1", [b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk"]),
        (b"GET / HTTP/1.1", [b"Upgrade: websocket, h2c", b"Connection: Upgrade"]),
        (b"GET / HTTP/1.1", [b"Upgrade: websocket", b"Upgrade: h2c", b"Connection: Upgrade"]),
        (b"GET / HTTP/1.1", [*WEBSOCKET, b"Content-Length: 3"]),
    ],
)
def test_any_other_upgrade_is_forwarded_as_plain_http(line: bytes, fields: list[bytes]) -> None:
    request = parse(*fields, line=line)
    assert not request.is_websocket
    assert not {b"upgrade", b"connection", b"http2-settings"} & set(names(sent(request)[1]))


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "kind", "framing"),
    [
        ([], EmptyBody, []),
        ([b"Content-Length: 0"], EmptyBody, [b"Content-Length: 0"]),
        ([b"Content-Length: 003"], LengthBody, [b"Content-Length: 3"]),
        ([b"Transfer-Encoding: Chunked"], ChunkedBody, [b"Transfer-Encoding: chunked"]),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_body_is_framed_as_it_came(method: bytes, fields: list[bytes], kind: type, framing: list[bytes]) -> None:
    request = parse(*fields, line=method + b" / HTTP/1.1")
    assert isinstance(request.body(), kind)
    assert request.has_body is (kind is not EmptyBody)
    assert [line for line in sent(request)[1] if line.startswith((b"Content-Length", b"Transfer-Encoding"))] == framing


@pytest.mark.parametrize(
    ("method", "fields", "replayable"),
    [
        (b"GET", [], True),
        (b"DELETE", [b"Content-Length: 0"], True),
        (b"PUT", [b"Content-Length: 1"], False),
        (b"GET", [b"Transfer-Encoding: chunked"], False),
        (b"POST", [], False),
        (b"PATCH", [], False),
        (b"BREW", [], False),
    ],
)
def test_what_may_be_sent_twice(method: bytes, fields: list[bytes], replayable: bool) -> None:
    assert parse(*fields, line=method + b" / HTTP/1.1").is_replayable is replayable


# --- forwarded fields -------------------------------------------------------------------------------------------------

CLAIMS = [
    b"X-Forwarded-For: 198.51.100.1",
    b"X-Forwarded-For: 198.51.100.2, 198.51.100.3",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: front.example",
    b"X-Forwarded-Port: 443",
    b"Forwarded: for=198.51.100.1",
    b"X-Real-IP: 198.51.100.1",
    b"Client-IP: 198.51.100.1",
    b"X-Request-ID: theirs",
    b"X-Request-Start: t=5.000",
]


def test_claims_of_a_stranger_never_reach_the_app() -> None:
    lines = sent(parse(*CLAIMS))[1]
    assert [line for line in lines if b"198.51" in line or b"theirs" in line or b"443" in line] == []
    assert {b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: app.example"} <= set(lines)


def test_claims_of_a_trusted_peer_are_kept_and_its_address_appended() -> None:
    lines = sent(parse(*CLAIMS, trusted=True))[1]
    assert [line for line in lines if line.startswith(b"X-Forwarded-For")] == [
        b"X-Forwarded-For: 198.51.100.1, 198.51.100.2, 198.51.100.3, 192.0.2.7"
    ]
    kept = {b"X-Forwarded-Proto: https", b"X-Forwarded-Host: front.example", b"X-Forwarded-Port: 443"}
    assert kept | {b"X-Request-ID: theirs", b"X-Request-Start: t=5.000", b"X-Real-IP: 198.51.100.1"} <= set(lines)


def test_a_peer_without_an_address_adds_none() -> None:
    assert b"x-forwarded-for" not in names(sent(parse(), peer=None)[1])
    assert b"X-Forwarded-For: 198.51.100.1" in sent(parse(CLAIMS[0], trusted=True), peer=None)[1]


@given(cuts=st.sets(st.integers(min_value=1, max_value=90), max_size=8))
def test_it_does_not_matter_where_a_head_is_split(cuts: set[int]) -> None:
    data = head(b"Content-Length: 3", b"X: \xff", line=b"POST /a?b HTTP/1.1") + b"abc"
    end = -1
    seen = 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        end = find_request_head(data[:cut], seen, 65536)
        seen = cut
        if end >= 0:
            break
    assert data[end:] == b"abc"
