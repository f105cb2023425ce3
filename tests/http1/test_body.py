from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbowd.http1 import ChunkedBody, EmptyBody, LengthBody, UntilCloseBody, frame, last_chunk
from rainbowd.http1.chunked import CHUNKS_PER_FEED
from tests.http1.feeding import BYTE_BY_BYTE, WHOLE, in_any_pieces, pieces, read_body

NEXT = b"GET / HTTP/1.1\r\n\r\n"


def chunk(payload: bytes) -> bytes:
    return frame(payload, ChunkedBody(strict=True), chunked=True)


def feed_all(body: ChunkedBody, data: bytes, step: int) -> None:
    for piece in pieces(data, step):
        body.feed(piece)


@in_any_pieces
@pytest.mark.parametrize("rest", [b"", NEXT])
def test_a_sized_body_ends_at_its_length(step: int, rest: bytes) -> None:
    body = LengthBody(5)
    assert read_body(body, b"hello" + rest, step) == (b"hello", rest)
    assert body.is_done
    body.feed_eof()


def test_a_sized_body_that_ends_early_is_broken() -> None:
    body = LengthBody(5)
    assert body.feed(b"hell") == (b"hell", b"")
    assert not body.is_done
    with pytest.raises(ValueError, match="Content-Length"):
        body.feed_eof()


def test_a_length_of_zero_is_done_at_once() -> None:
    body = LengthBody(0)
    assert body.is_done
    assert body.feed(NEXT) == (b"", NEXT)


def test_no_body_takes_nothing() -> None:
    body = EmptyBody()
    assert body.is_done
    assert body.feed(NEXT) == (b"", NEXT)
    body.feed_eof()


def test_a_body_until_close_ends_with_the_connection_alone() -> None:
    body = UntilCloseBody()
    assert body.feed(NEXT) == (NEXT, b"")
    assert not body.is_done
    body.feed_eof()
    assert body.is_done


@in_any_pieces
@pytest.mark.parametrize("rest", [b"", NEXT, b"\r\n" + NEXT])
@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"00000005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b"5;name=value\r\nhello\r\n0;last\r\n\r\n", b"hello"),
        (b'5;a;b=c\t;\td = "e\\"f;=\\\\"\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b'5 ; name="quoted; \xff"\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b"2\r\n\r\n\r\n2\r\n0\r\r\n0\r\n\r\n", b"\r\n0\r"),
        (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    ],
)
def test_chunks_are_joined(data: bytes, payload: bytes, rest: bytes, step: int) -> None:
    body = ChunkedBody(strict=True)
    assert read_body(body, data + rest, step) == (payload, rest)
    assert body.is_done
    assert body.trailers == []
    body.feed_eof()


@in_any_pieces
@pytest.mark.parametrize("rest", [b"", NEXT])
def test_trailers_are_read(step: int, rest: bytes) -> None:
    body = ChunkedBody(strict=True)
    data = b"5\r\nhello\r\n0\r\nDigest: abc\r\nX: \xff\r\n\r\n"
    assert read_body(body, data + rest, step) == (b"hello", rest)
    assert body.trailers == [b"Digest: abc", b"X: \xff"]


@in_any_pieces
@pytest.mark.parametrize(
    "size",
    [
        b"5 5",
        b"0x5",
        b"+5",
        b"-5",
        b"5 ",
        b" 5",
        b"\t5",
        b"5\t",
        b"",
        b"g",
        b"5g",
        b"5,",
        b"\xb2",
        b"5\x00",
        b"5\x0b",
        b"1_0",
        b"12345678901234567",
        b"00000000000000005",
        b"ffffffffffffffff",
        b"5;a\x00",
        b"5;a\x0bb",
        b"5;a\rb",
        b"5\r",
        b";a",
        b"5;",
        b"5 ;",
        b"5;bad[=x",
        b"5;a=",
        b"5;a=b c",
        b"5;a;",
        b"5;;a",
        b"5;a ",
        b'5;a="b',
        b'5;a="b"c',
        b'5;a="\\"',
        b'5;"a"',
        b"5;=b",
        b"5;\xff",
    ],
)
def test_chunk_sizes_that_parsers_read_differently_are_refused(size: bytes, step: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        feed_all(ChunkedBody(strict=True), size + b"\r\nhello\r\n0\r\n\r\n", step)


@in_any_pieces
@pytest.mark.parametrize(
    "data",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello\r!0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        b"0\n\r\n",
    ],
)
def test_chunks_without_their_proper_ends_are_refused(data: bytes, step: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        feed_all(ChunkedBody(strict=True), data, step)


@in_any_pieces
@pytest.mark.parametrize(
    "trailers",
    [b"A : b\r\n", b"A: b\nC: d\r\n", b" A: b\r\n", b"A: b\r\n c\r\n", b"A\r\n", b"A: \x00\r\n", b"A: b\r\n\n"],
)
def test_trailers_that_parsers_read_differently_are_refused(trailers: bytes, step: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        feed_all(ChunkedBody(strict=True), b"0\r\n" + trailers + b"\r\n\r\n", step)


@in_any_pieces
@pytest.mark.parametrize("size", [b"5 ", b"5  ", b"5\t", b"5 \t ", b"0005 ", b"5;", b"5;bad[=x", b"5 ; a "])
def test_a_response_may_have_spaces_after_a_chunk_size_and_any_extension(size: bytes, step: int) -> None:
    body = ChunkedBody(strict=False)
    assert read_body(body, size + b"\r\nhello\r\n0 \r\n\r\n" + NEXT, step) == (b"hello", NEXT)
    assert body.is_done


@in_any_pieces
@pytest.mark.parametrize(
    "size", [b" 5", b"5 5", b"\t5", b"5 x", b"5\x0b", b"5\x00", b"5 \r", b"+5", b"0x5", b"5,", b""]
)
def test_a_response_may_have_them_nowhere_else(size: bytes, step: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        feed_all(ChunkedBody(strict=False), size + b"\r\nhello\r\n0\r\n\r\n", step)


@in_any_pieces
def test_control_bytes_in_a_trailer_of_a_response_become_spaces(step: int) -> None:
    body = ChunkedBody(strict=False)
    assert read_body(body, b"0\r\nX: a\x01b\r\n\r\n" + NEXT, step) == (b"", NEXT)
    assert body.trailers == [b"X: a b"]
    with pytest.raises(ValueError, match="control"):
        feed_all(ChunkedBody(strict=True), b"0\r\nX: a\x01b\r\n\r\n", step)


def test_many_chunks_are_decoded_in_turns() -> None:
    body = ChunkedBody(strict=True)
    data = b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
    payload, rest = body.feed(data)
    assert (payload, body.is_done, data.endswith(rest)) == (b"x" * CHUNKS_PER_FEED, False, True)
    assert read_body(body, rest) == (b"x" * (1000 - CHUNKS_PER_FEED), b"")


@pytest.mark.parametrize("step", [WHOLE, 1000, BYTE_BY_BYTE])
def test_a_long_chunk_extension_is_refused(step: int) -> None:
    data = b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n"
    with pytest.raises(ValueError, match="chunk"):
        feed_all(ChunkedBody(strict=True), data, step)


@pytest.mark.parametrize("step", [WHOLE, 1000])
def test_many_trailers_are_refused(step: int) -> None:
    with pytest.raises(ValueError, match="trailers"):
        feed_all(ChunkedBody(strict=True), b"0\r\n" + b"A: b\r\n" * 129 + b"\r\n", step)


def test_trailers_that_the_app_trusts_do_not_pass() -> None:
    body = ChunkedBody(strict=True)
    body.feed(b"0\r\nX-Sum: 1\r\nX-Forwarded-For: a\r\nX.Real.IP: b\r\nHost: c\r\nContent-Length: 5\r\n\r\n")
    assert body.trailers == [b"X-Sum: 1"]


@pytest.mark.parametrize("step", [WHOLE, 1000])
def test_a_flood_of_chunk_extensions_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        feed_all(ChunkedBody(strict=True), (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 20, step)


@pytest.mark.parametrize("step", [WHOLE, 100])
def test_trailers_are_limited(step: int) -> None:
    with pytest.raises(ValueError, match="trailers"):
        feed_all(ChunkedBody(strict=True, trailer_bytes=1000), b"0\r\n" + b"A: b\r\n" * 200 + b"\r\n", step)


@pytest.mark.parametrize("cut", range(1, len(b"5\r\nhello\r\n0\r\n\r\n")))
def test_a_chunked_body_that_ends_early_is_broken(cut: int) -> None:
    body = ChunkedBody(strict=True)
    body.feed(b"5\r\nhello\r\n0\r\n\r\n"[:cut])
    assert not body.is_done
    with pytest.raises(ValueError, match="last chunk"):
        body.feed_eof()


def test_twenty_thousand_chunks_of_one_byte_are_joined() -> None:
    body = ChunkedBody(strict=True)
    data = b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    assert read_body(body, data) == (b"x" * 20_000, b"")


def test_what_is_written_is_what_is_read() -> None:
    body = ChunkedBody(strict=True)
    data = chunk(b"hello") + chunk(b"x" * 300) + last_chunk([b"A: b", b"C:"])
    assert read_body(body, data, BYTE_BY_BYTE) == (b"hello" + b"x" * 300, b"")
    assert body.trailers == [b"A: b", b"C:"]
    assert last_chunk([]) == b"0\r\n\r\n"


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=12),
    rest=st.binary(max_size=10),
)
def test_it_does_not_matter_where_a_chunked_body_is_split(payloads: list[bytes], cuts: list[int], rest: bytes) -> None:
    data = b"".join(map(chunk, payloads)) + last_chunk([b"A: b"])
    ends = [*sorted(cut for cut in cuts if cut < len(data)), len(data)]
    body = ChunkedBody(strict=True)
    payload = b""
    for start, end in zip([0, *ends], ends, strict=False):
        got, after = body.feed(data[start:end] + (rest if end == len(data) else b""))
        payload += got
    assert (payload, after, body.is_done) == (b"".join(payloads), rest, True)
