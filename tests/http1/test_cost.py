"""A byte costs a bounded amount of work, whatever it is: steps of the interpreter are counted, and no time is taken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from rainbowd.http1 import BadResponse, ChunkedBody, Refusal, find_request_head, parse_request, read_response
from rainbowd.http1.fields import RULE_BY_NAME, TOKENS_BY_VALUE
from rainbowd.http1.request_line import skip_empty_lines
from tests.http1.feeding import pieces

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed import TraceFunction

STEPS_A_BYTE = 32
"""The most bytecode instructions for a byte that arrives among others."""
STEPS_A_PACKET = 200
"""The most for data that arrives at once, even a single byte, with the loop of this test around it."""
STEPS_A_MESSAGE = 4000
N_BYTES = 1024

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


Make = Callable[[int], bytes]


def steps(work: Callable[[], None]) -> int:
    """Count the bytecode instructions that ``work`` executes, as sys.settrace(3) shows them."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    RULE_BY_NAME.clear()
    TOKENS_BY_VALUE.clear()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def read_head(data: bytes, step: int) -> None:
    """Read a request's head as the proxy does, without limits of its own that would end it early."""
    buffer = b""
    try:
        for piece in pieces(data, step):
            searched = len(buffer)
            buffer += piece
            if buffer.startswith(b"\r"):
                buffer = skip_empty_lines(buffer)
            if find_request_head(buffer, searched, None) >= 0:
                parse_request(buffer, trusted=True)
    except Refusal:
        pass


def read_answer(data: bytes, step: int) -> None:
    """Read a response's head."""
    buffer = b""
    try:
        for piece in pieces(data, step):
            searched = len(buffer)
            buffer += piece
            read_response(buffer, searched)
    except BadResponse:
        pass


def read_chunks(data: bytes, step: int, *, strict: bool = True) -> None:
    """Read a chunked body."""
    body = ChunkedBody(strict=strict)
    try:
        for piece in pieces(data, step):
            rest = piece
            while rest and not body.is_done:
                _, rest = body.feed(rest)
    except ValueError:
        pass


def lines_of(count_bytes: int, line: bytes) -> bytes:
    """Repeat ``line``, with a number for each ``%d`` in it, up to a length."""
    out: list[bytes] = []
    left = count_bytes
    while left > 0:
        out.append(line % len(out) if b"%d" in line else line)
        left -= len(out[-1])
    return b"".join(out)


REQUESTS: dict[str, Make] = {
    "a long value": lambda n: GET + b"X: " + b"x" * n + b"\r\n\r\n",
    "a long cookie": lambda n: GET + b"Cookie: " + b"a=b; " * (n // 5) + b"\r\n\r\n",
    "a long target": lambda n: b"GET /" + b"%41" * (n // 3) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long host": lambda n: b"GET / HTTP/1.1\r\nHost: " + b"%41" * (n // 3) + b"\r\n\r\n",
    "a long name": lambda n: GET + b"x" * n + b": y\r\n\r\n",
    "names as long as they may be": lambda n: GET + lines_of(n, b"x" * 240 + b"%d: y\r\n") + b"\r\n",
    "many names": lambda n: GET + lines_of(n, b"x-%d:\r\n") + b"\r\n",
    "many fields": lambda n: GET + lines_of(n, b"x:\r\n") + b"\r\n",
    "many forged names": lambda n: GET + lines_of(n, b"x_forwarded.%d:\r\n") + b"\r\n",
    "Connection options": lambda n: GET + b"Connection: " + b"a," * (n // 2) + b"\r\n\r\n",
    "Connection fields": lambda n: GET + lines_of(n, b"Connection: a%d,b,c,d\r\n") + b"\r\n",
    "nominated fields": lambda n: GET + b"Connection: x,y,z\r\n" + lines_of(n, b"x:\r\n") + b"\r\n",
    "TE options": lambda n: GET + b"TE: " + b"a," * (n // 2) + b"\r\n\r\n",
    "codings": lambda n: GET + b"Transfer-Encoding: " + b"gzip," * (n // 5) + b"chunked\r\n\r\n",
    "hops": lambda n: GET + lines_of(n, b"X-Forwarded-For: a\r\n") + b"\r\n",
    "hosts": lambda n: GET + lines_of(n, b"Host: a\r\n") + b"\r\n",
    "lengths": lambda n: GET + lines_of(n, b"Content-Length: 1\r\n") + b"\r\n",
    "bad lines": lambda n: GET + lines_of(n, b"x\x01:\r\n") + b"\r\n",
    "bare LF": lambda n: GET + b"x\n" * (n // 2),
    "empty lines": lambda n: b"\r\n" * (n // 2) + GET + b"\r\n",
    "TLS": lambda n: b"\x16\x03\x01" + b"\x00" * n,
}


def replaced(make: Make, old: bytes, new: bytes) -> Make:
    """Make the same with ``new`` instead of ``old``."""
    return lambda n: make(n).replace(old, new)


RESPONSES = {name: replaced(make, GET, b"HTTP/1.1 200 OK\r\n") for name, make in REQUESTS.items()}
REPAIRED = {f"{name}, in LF": replaced(make, b"\r\n", b"\n") for name, make in RESPONSES.items()}

BODIES: dict[str, Make] = {
    "chunks of a byte": lambda n: b"1\r\nx\r\n" * (n // 6) + b"0\r\n\r\n",
    "one chunk": lambda n: b"%x\r\n" % n + b"x" * n + b"\r\n0\r\n\r\n",
    "extensions": lambda n: b"1;a\r\nx\r\n" * (n // 8) + b"0\r\n\r\n",
    "a long extension": lambda n: b"1;" + b"a" * n + b"\r\nx\r\n0\r\n\r\n",
    "many extensions of a chunk": lambda n: b"1" + b";a=b" * (n // 4) + b"\r\nx\r\n0\r\n\r\n",
    "a quoted extension": lambda n: b'1;a="' + b"\\a" * (n // 2) + b"\r\nx\r\n0\r\n\r\n",
    "spaces in an extension": lambda n: b"1;a" + b" " * n + b"\r\nx\r\n0\r\n\r\n",
    "trailers": lambda n: b"0\r\n" + lines_of(n, b"x-%d:\r\n") + b"\r\n",
    "a long trailer": lambda n: b"0\r\nx: " + b"x" * n + b"\r\n\r\n",
}


@pytest.mark.parametrize("step", [1, 500, 1 << 20])
@pytest.mark.parametrize(
    ("read", "make"),
    [
        *(pytest.param(read_head, make, id=f"request: {name}") for name, make in REQUESTS.items()),
        *(pytest.param(read_answer, make, id=f"response: {name}") for name, make in {**RESPONSES, **REPAIRED}.items()),
        *(pytest.param(read_chunks, make, id=f"body: {name}") for name, make in BODIES.items()),
    ],
)
def test_work_grows_with_the_number_of_bytes_and_no_faster(
    read: Callable[[bytes, int], None], make: Callable[[int], bytes], step: int
) -> None:
    once, twice = make(N_BYTES), make(2 * N_BYTES)
    few, many = steps(lambda: read(once, step)), steps(lambda: read(twice, step))
    packets = -(-len(once) // step)
    assert few <= STEPS_A_MESSAGE + STEPS_A_BYTE * len(once) + STEPS_A_PACKET * packets
    assert many <= 2.1 * few + STEPS_A_MESSAGE


def test_steps_are_counted() -> None:
    assert steps(lambda: None) < steps(lambda: read_head(GET + b"\r\n", 1000)) < STEPS_A_MESSAGE
