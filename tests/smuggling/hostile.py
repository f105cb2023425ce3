"""Messages that were made to be read in two ways: the families of the published collections, and mutations."""

from __future__ import annotations

from itertools import product

from hypothesis import assume
from hypothesis import strategies as st

TAG = b"@TAG@"
"""Takes the place of what tells one case from another; it is in every target."""

NEXT = b"GET /" + TAG + b"/next HTTP/1.1\r\nHost: a\r\n\r\n"

CODINGS = [
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b" Transfer-Encoding: chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: \x0cchunked",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding: \x00chunked",
    b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: 'chunked'",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: CHUNKED",
    b"Transfer-Encoding:chunked",
    b"Transfer-Encoding:\tchunked\t",
    b"Transfer-Encoding: \xa0chunked",
    b"Transfer-Encoding: chunked\xa0",
    b"transfer-encoding: chunked",
    b"TRANSFER-ENCODING: chunked",
    b"Transfer_Encoding: chunked",
    b"Transfer-Encoding\x00: chunked",
    b"Transfer-Encoding\xa0: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\r\n\tTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding",
    b": chunked\r\nTransfer-Encoding: chunked",
    b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    b"Foo: bar\r\n\r\nTransfer-Encoding: chunked",
    b"Foo: bar\n\nTransfer-Encoding: chunked",
    b"Foo: bar\r\n\rTransfer-Encoding: chunked",
    b"Tra\rnsfer-Encoding: chunked",
    b"Transfer-Encoding\n : chunked",
    b"Transfer-Encoding:\n\x0bchunked",
    b"Transfer-Encoding x: chunked",
    b"Transfer Encoding: chunked",
    b"Transfer\\Encoding: chunked",
    b"Transfer-%45ncoding: chunked",
    b"Transf\x82r-Encoding: chunked",
    b"Transfer-Encoding: ch\x96nked",
    b"Transfer-Encoding:\xffchunked",
    b"Transfer-Encoding: chunked\x7f",
    b"Transfer-Encoding: identity, chunked, identity",
    b"Content-Encoding: chunked",
    b"TE: chunked",
]
LENGTHS = [
    b"",
    *(
        b"Content-Length: " + value
        for value in (b"5", b"0", b"6", b"4", b"05", b"+5", b"-5", b"5 ", b" 5", b"5\x0b", b"\x0c5")
    ),
    *(
        b"Content-Length: " + value
        for value in (b"5,5", b"5, 6", b"5;", b"0x5", b"5.0", b"5e0", b"", b"\xb2", b"5\x00", b"1_0")
    ),
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 0",
    b"Content-Length: 0\r\nContent-Length: 5",
    b"Content-Length : 5",
    b" Content-Length: 5",
    b"Content-Length:\r\n 5",
    b"Content_Length: 5",
    b"Content-Length\x00: 5",
    b"content-length: 5",
    b"Connection: Content-Length\r\nContent-Length: 5",
    b"X: y\nContent-Length: 5",
    b"X: y\rContent-Length: 5",
    b"X: y\r\n Content-Length: 5",
    b"Content-Length:\n5",
    b"Content-Length\t: 5",
    b"Content-Length:\x0b5",
    b"\x00Content-Length: 5",
    b"Content-Length: Z\r\nContent-Length: 5",
    b"Content-Length: 0\r\nExpect: 100-continue",
    b"Content-Length: 5\r\nExpect: 100-continue",
    b"Expect: y 100-continue\r\nContent-Length: 5",
]
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
BODIES = [b"", b"hello", CHUNKED, b"0\r\n\r\n", b"0\r\n\r\n" + NEXT, b"hello" + NEXT]

_SIZES = [
    *(
        b'05 5 5; 5;a 5;a=b 5;a="b" 5;a\x00 +5 -5 0x5 5x 5_0 5h 00000000000000005 5\t 5\x0b \xb5 5,'.replace(
            b"05 ", b"005 "
        ).split(b" ")
    ),
    *(
        b" 5",
        b"5 ",
        b"5 5",
        b"5 ;a",
        b"5\r",
        b"5;\n",
        b"5;a\nx",
        b"5;a\rx",
        b"5\n",
        b"",
        b";a",
        b"10000000000000005",
        b"ffffffffffffffff",
        b"5;\rX",
        b"5;a\r\r",
        b'5;a="\r\n"',
        b"5;\x7f",
        b"5\x00",
        b"5\x0c",
        b"5.",
        b"0x",
        b"+0x5",
        b"5;a=b;\x85",
        b"5\t;\t a",
    ),
]
_ENDS = [b"\r\n", b"\n", b"\r", b"", b"\n\r", b"\r\r\n", b"XX", b"\x00\n", b"\rX", b"\r\r", b"\n\n"]
_LAST = [
    *(
        b"0\r\n\r\n",
        b"0\n\n",
        b"0\r\n\n",
        b"0\n\r\n",
        b"00\r\n\r\n",
        b"0;a\r\n\r\n",
        b"0;\n\r\n",
        b"0 \r\n\r\n",
        b"0x0\r\n\r\n",
        b"-0\r\n\r\n",
    ),
    *(
        b"0\r\nX: y\r\n\r\n",
        b"0\r\nContent-Length: 9\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\nHost: b\r\n\r\n",
    ),
    *(
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\nX: y\r\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\n:\r\n\r\n",
    ),
]
_LINES = [
    b"GET /" + TAG + rest
    for rest in (
        *(
            b" HTTP/1.1",
            b" HTTP/1.0",
            b" HTTP/0.9",
            b" HTTP/2.0",
            b" HTTP/1.2",
            b" HTTP/1.10",
            b" HTTP/1.1 ",
            b" HTTP/1.1\t",
            b" http/1.1",
            b"",
            b" ",
        ),
        *(
            b"  HTTP/1.1",
            b"\tHTTP/1.1",
            b" x HTTP/1.1",
            b"\x00 HTTP/1.1",
            b"\r HTTP/1.1",
            b"\n HTTP/1.1",
            b"#f HTTP/1.1",
            b"?a b HTTP/1.1",
            b"\x0b HTTP/1.1",
        ),
        *(
            b" HTTP/1.1\rX: y",
            b" HTTP/1.1\nX: y",
            b" HTTP /1.1",
            b" HTTP/ 1.1",
            b" HTTP/11",
            b" HTTPS/1.1",
            b" HTTP/1,1",
            b"\xff HTTP/1.1",
            b"%00 HTTP/1.1",
        ),
    )
]
_LINES += [
    start + TAG + b" HTTP/1.1"
    for start in (
        *(
            b"GET  /",
            b" GET /",
            b"GET\t/",
            b"G\x00T /",
            b"GE T /",
            b"GET\x0b/",
            b"get /",
            b"(GET) /",
            b"CONNECT /",
            b"PRI /",
            b"GET x",
            b"GET \\",
            b"OPTIONS *",
        ),
        *(
            b"GET http://a/",
            b"GET http://b/",
            b"GET HTTP://A/",
            b"GET http://a@b/",
            b"GET http://a:80/",
            b"GET http://a\\@b/",
            b"GET ftp://a/",
            b"GET http:/a/",
            b"GET //a/",
        ),
        *(
            b"\r\nGET /",
            b"\nGET /",
            b"\rGET /",
            b"\r\n\r\n\r\nGET /",
            b"\x00GET /",
            b"\xef\xbb\xbfGET /",
            b"GET /x HTTP/1.1\r\nGET /",
        ),
    )
]
_HOSTS = [
    b"Host: a",
    b"",
    *(
        b"Host: " + value
        for value in (
            b"",
            b"a b",
            b"a,b",
            b"a/b",
            b"a@b",
            b"a:",
            b"a:80",
            b"a:x",
            b"a:99999999",
            b"[::1]",
            b"[::1",
            b"a\x00",
            b"\xff",
            b"a#",
            b"a?b",
        )
    ),
    *(
        b"Host: a\r\nHost: a",
        b"Host: a\r\nHost: b",
        b"Host : a",
        b" Host: a",
        b"Host:\r\n a",
        b"Host: a\nHost: b",
        b"Host: a\rHost: b",
        b"Host",
        b"Hos\x00t: a",
    ),
]
_FIELDS = [
    *(
        b"X : y",
        b" X: y",
        b"\tX: y",
        b"X: y\r\n z",
        b"X: y\r\n\tz",
        b"X",
        b": y",
        b"",
        b"X: \x00",
        b"X: \x01",
        b"X: \x7f",
        b"X: \x80\xff",
        b"X: y\rz",
        b"X: y\nz",
        b"X\xff: y",
    ),
    *(
        b"X(: y",
        b"X: y\r",
        b"X\r: y",
        b"X\n: y",
        b"Connection: Host",
        b"Connection: close, X-Forwarded-For",
        b"Connection: keep-alive, Content-Length",
        b"Upgrade: h2c",
    ),
    *(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
        b"Connection: Upgrade\r\nUpgrade: websocket",
        b"Expect: 100-continue",
        b"Expect: x",
    ),
    *(
        b"X-Forwarded-For: 1.2.3.4",
        b"X_Forwarded_For: 1.2.3.4",
        b"X-Request-ID: a\r\nX-Request-ID: b",
        b"Content-Length: 0\r\nConnection: close",
        b"TE: trailers",
        b"Trailer: Host",
    ),
]

_EXPECTATIONS = [
    b"Expect: 100-continue\r\nTransfer-Encoding: chunked",
    b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5",
    b"Expect: 100-continue, x\r\nContent-Length: 5",
    b"Expect:\r\n 100-continue\r\nContent-Length: 5",
    b"Expect : 100-continue\r\nContent-Length: 5",
    b"Expect: 100-continue",
]


def _message(
    *fields: bytes, line: bytes = b"POST /" + TAG + b" HTTP/1.1", body: bytes = b"", end: bytes = b"\r\n"
) -> bytes:
    lines = [line, *(field for field in fields if field)]
    return end.join(lines) + end + end + body


def table() -> list[bytes]:
    """Every family, each with something behind it that must not become a request of its own by mistake."""
    cases = [
        _message(b"Host: a", coding, length, body=body)
        for coding, length, body in product(CODINGS, LENGTHS[:12], BODIES[2:5])
    ]
    cases += [
        _message(b"Host: a", length, coding, body=body)
        for coding, length, body in product(CODINGS[:3], LENGTHS, BODIES)
    ]
    cases += [_message(b"Host: a", length, body=body) for length, body in product(LENGTHS, BODIES)]
    cases += [_chunked(size + end + b"hello\r\n0\r\n\r\n") for size, end in product(_SIZES, _ENDS[:5])]
    cases += [_chunked(b"5\r\nhello" + end + b"0\r\n\r\n") for end in _ENDS]
    cases += [_chunked(b"5\r\nhello\r\n" + last) for last in _LAST]
    cases += [_message(b"Host: a", line=line, end=end) for line, end in product(_LINES, _ENDS[:3])]
    cases += [
        _message(host, line=b"GET /" + TAG + version) for host, version in product(_HOSTS, (b" HTTP/1.1", b" HTTP/1.0"))
    ]
    cases += [_message(b"Host: a", field, body=body) for field, body in product(_FIELDS, BODIES[:3])]
    cases += [
        _message(b"Host: a", length, line=method + b" /" + TAG + b" HTTP/1.1", body=b"hello")
        for method, length in product((b"GET", b"HEAD", b"DELETE", b"OPTIONS"), LENGTHS)
    ]
    cases += [
        _message(b"Host: a", field, line=method + b" /" + TAG + b" HTTP/1.1", body=body)
        for method, field, body in product((b"GET", b"OPTIONS"), (CODINGS[0], *_EXPECTATIONS), BODIES[1:4])
    ]
    return [case + NEXT for case in cases]


def _chunked(body: bytes) -> bytes:
    return _message(b"Host: a", CODINGS[0], body=body)


_odd = st.sampled_from(
    [
        b"",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b"\x00",
        b"\x0b",
        b"\x0c",
        b"\x7f",
        b"\x80",
        b"\xa0",
        b"\xff",
        b":",
        b",",
        b";",
        b"0",
        b"5",
        b"-",
    ]
)
_fields = st.lists(st.sampled_from([*CODINGS, *LENGTHS, *_HOSTS, *_FIELDS]), max_size=3)
_lines = st.sampled_from([b"POST /" + TAG + b" HTTP/1.1", *_LINES])
_bodies = st.sampled_from([*BODIES, *(size + b"\r\nhello\r\n" + last for size, last in product(_SIZES, _LAST))])
_edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.integers(0, 2), _odd), max_size=3)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message out of these parts, with some bytes more, fewer or twice."""
    data = _message(b"Host: a", *draw(_fields), line=draw(_lines), body=draw(_bodies)) + NEXT
    for where, again, without, odd in draw(_edits):
        at = int(where * len(data))
        data = data[:at] + odd + data[at : at + again] + data[at + without :]
    assume(data.count(TAG) > 1)
    return data
