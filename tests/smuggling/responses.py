"""Answers of an app that is broken, or somebody else's."""

from __future__ import annotations

from itertools import product

from hypothesis import strategies as st

from tests.smuggling.hostile import CODINGS, LENGTHS

SECRET = b"@SECRET@"
"""Takes the place of what only one client may see."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Secret: " + SECRET + b"\r\n\r\nhello"
PADDED = b"5  \r\nhello\r\n0\t\r\n\r\n"
BODIES = [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n", b"hello" + OK, b"5\r\nhello\r\n0\r\n\r\n" + OK]
LINES = [
    b"HTTP/1.1 " + rest
    for rest in (
        *(
            b"200 OK",
            b"200",
            b"200 ",
            b"204 No Content",
            b"304 Not Modified",
            b"100 Continue",
            b"101 Switching Protocols",
            b"103 Early Hints",
            b"299 Odd",
        ),
        *(
            b"600 X",
            b"20 OK",
            b"2000 OK",
            b"abc",
            b"-200 OK",
            b"200\tOK",
            b"200 O\x00K",
            b"200 O\rK",
            b" 200 OK",
            b"099 X",
        ),
    )
]
LINES += [
    b"HTTP/1.0 200 OK",
    b"HTTP/2.0 200 OK",
    b"HTTP/1.2 200 OK",
    b"HTTP/2 200 OK",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1 200 O\x01K",
    b"HTTP/1.1 200 OK\nX: y",
    b"http/1.1 200 OK",
    b"ICY 200 OK",
    b"",
    b"\x16\x03\x01",
    b"HTTP/1.1",
    b"\r\nHTTP/1.1 200 OK",
]
FIELDS = [
    *(
        b"X: y",
        b"X : y",
        b" X: y",
        b"X",
        b": y",
        b"X: y\r\n z",
        b"X: \x00",
        b"X: \x01\x0b\x1f\x7f",
        b"X: \x80",
        b"X: y\n",
        b"X: y\n\n",
        b"X: y\n\r",
        b"X: y\r",
        b"Transfer-Encoding: chunked\nContent-Length: 5",
        b"Content-Length: 5\n\n5\r\nhello",
        b"Connection: close\x01",
        b"X: y\rSet-Cookie: z",
        b"X: y\nSet-Cookie: z",
        b"Connection: close",
    ),
    *(
        b"Connection: keep-alive",
        b"Connection: Content-Length",
        b"Upgrade: h2c",
        b"Trailer: Content-Length",
        b"Keep-Alive: timeout=5",
        b"Content-Encoding: gzip",
    ),
]


def response(*fields: bytes, line: bytes = LINES[0], body: bytes = b"") -> bytes:
    """One answer."""
    return b"\r\n".join([line, b"X-Secret: " + SECRET, *(field for field in fields if field)]) + b"\r\n\r\n" + body


def table() -> list[bytes]:
    """Every family."""
    answers = [
        response(coding, length, body=body) for coding, length, body in product(CODINGS, LENGTHS[:6], BODIES[1:6:2])
    ]
    answers += [response(length, body=body) for length, body in product(LENGTHS, BODIES)]
    answers += [
        response(length, line=line, body=body) for line, length, body in product(LINES, LENGTHS[:3], BODIES[:5:2])
    ]
    answers += [response(field, LENGTHS[1], body=BODIES[1]) for field in FIELDS]
    answers += [
        response(CODINGS[0], *field, body=PADDED) for field in ((), (LENGTHS[1],), (b"Connection: keep-alive",))
    ]
    answers += [
        response(*fields, body=body).replace(b"\r\n", b"\n", count)
        for fields, body, count in product(
            ((LENGTHS[1],), (CODINGS[0],), (CODINGS[0], LENGTHS[1]), ()), (*BODIES, PADDED), range(1, 6)
        )
    ]
    answers += [response(line=LINES[5]) * count + OK for count in (1, 3, 20)]
    return answers


_edits = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 2),
        st.sampled_from([b"", b" ", b"\r", b"\n", b"\n\n", b"\x00", b"\x01", b"0", b":", b",", b"\xff"]),
    ),
    max_size=2,
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer out of these parts, with some bytes changed."""
    fields = draw(st.lists(st.sampled_from([*CODINGS, *LENGTHS, *FIELDS]), max_size=3))
    data = response(*fields, line=draw(st.sampled_from(LINES)), body=draw(st.sampled_from([*BODIES, PADDED])))
    for where, without, odd in draw(_edits):
        at = int(where * len(data))
        data = data[:at] + odd + data[at + without :]
    return data
