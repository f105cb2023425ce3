"""Feeds bytes as a network may: at once, one by one, and with more behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.http1 import (
    RequestHead,
    ResponseHead,
    find_request_head,
    parse_request,
)
from rainbowd.http1 import read_response as read_head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rainbowd.http1 import Body

WHOLE, BYTE_BY_BYTE = 1 << 20, 1

in_any_pieces = pytest.mark.parametrize("step", [WHOLE, BYTE_BY_BYTE, 2, 7], ids=["whole", "bytes", "twos", "sevens"])
"""Runs a test for several sizes of the pieces that arrive."""


def pieces(data: bytes, step: int) -> Iterator[bytes]:
    """``data`` in pieces of ``step`` bytes."""
    return (data[at : at + step] for at in range(0, len(data), step))


def read_request(
    data: bytes,
    step: int = WHOLE,
    *,
    trusted: bool = False,
    limit_bytes: int | None = 65536,
    fields_max: int | None = 128,
) -> tuple[RequestHead, bytes]:
    """The request that ``data`` begins with, and what follows its head; AssertionError where it is not whole."""
    buffer = b""
    for piece in pieces(data, step):
        searched = len(buffer)
        buffer += piece
        end = find_request_head(buffer, searched, limit_bytes)
        if end >= 0:
            return parse_request(buffer[:end], trusted=trusted, fields_max=fields_max), data[end:]
    raise AssertionError("the head is not whole")


def read_response(data: bytes, step: int = WHOLE) -> tuple[ResponseHead, bytes]:
    """The same of a response."""
    buffer = b""
    for piece in pieces(data, step):
        searched = len(buffer)
        buffer += piece
        found = read_head(buffer, searched)
        if found is not None:
            return found[0], data[found[1] :]
    raise AssertionError("the head is not whole")


def read_body(body: Body, data: bytes, step: int = WHOLE) -> tuple[bytes, bytes]:
    """The payload in ``data``, and what follows the body."""
    payload = b""
    fed_bytes = 0
    for piece in pieces(data, step):
        if body.is_done:
            break
        fed_bytes += len(piece)
        rest = piece
        while rest and not body.is_done:
            got, rest = body.feed(rest)
            payload += got
        if body.is_done:
            return payload, rest + data[fed_bytes:]
    return payload, data[fed_bytes:]
