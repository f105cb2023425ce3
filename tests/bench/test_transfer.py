"""Bodies are counted and dropped to the byte, and a head that gives no length is refused."""

from __future__ import annotations

import hashlib
import socket
from typing import TYPE_CHECKING

import pytest

from bench.machine import BenchError
from bench.transfer import content_length, digest, download, drop, receive_head, upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Of TCP, since only there the kernel drops what is asked for with MSG_TRUNC."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), timeout=10) as ours,
    ):
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


def test_as_much_is_dropped_as_asked_and_no_more(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * 1000 + b"next")
    assert drop(ours, 1000) == 1000
    assert ours.recv(10) == b"next"


def test_a_body_that_ends_early_counts_as_what_came(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * 10)
    theirs.shutdown(socket.SHUT_WR)
    assert drop(ours, 1000) == 10


def test_what_came_with_the_head_is_of_the_body(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(OK + b"12345")
    assert receive_head(ours) == (OK, b"12345")


def test_the_end_of_a_connection_is_no_head(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 200")
    theirs.shutdown(socket.SHUT_WR)
    assert receive_head(ours) is None


def test_a_digest_is_of_both_parts(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"world")
    assert digest(ours, b"hello ", 11) == hashlib.sha256(b"hello world").hexdigest()


def test_a_download_of_another_size_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(OK + b"12345")
    with pytest.raises(BenchError, match="5 bytes came, not 6"):
        download(ours, "/files/6", 6)


def test_an_answer_of_another_status_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(BenchError, match="502"):
        download(ours, "/", 0)


def test_an_upload_has_its_length_and_returns_the_answer(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ours, theirs = pair
    file = tmp_path / "body"
    file.write_bytes(b"some body")
    theirs.sendall(OK + b"9 are")
    assert upload(ours, "/count", file) == "9 are"
    received = receive_head(theirs)
    assert received is not None
    assert content_length(received[0]) == 9
    assert received[1] in b"some body"


def test_a_chunked_head_is_refused() -> None:
    with pytest.raises(BenchError, match="no Content-Length"):
        content_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
