"""Large bodies over a socket, at as little cost as can be: sent from a file by the kernel, and dropped by it."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from typing import TYPE_CHECKING

from bench.machine import HOST, BenchError

if TYPE_CHECKING:
    from pathlib import Path

PIECE_BYTES = 1 << 20
TIMEOUT_SECONDS = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def connect(port: int) -> socket.socket:
    """To a proxy."""
    return socket.create_connection((HOST, port), timeout=TIMEOUT_SECONDS)


def download(sock: socket.socket, path: str, size: int) -> None:
    """Ask for a file, and drop it.

    Raises:
        BenchError: it has not this size.
    """
    length, body = _ask(sock, path)
    received = len(body) + drop(sock, length - len(body))
    if received != size:
        raise BenchError(f"{path}: {received} bytes came, not {size}")


def download_digest(sock: socket.socket, path: str) -> str:
    """Ask for a file; the SHA-256 of what comes."""
    length, body = _ask(sock, path)
    return digest(sock, body, length)


def upload(sock: socket.socket, path: str, file: Path) -> str:
    """Send a file; the answer's body."""
    with file.open("rb") as source:
        size = os.fstat(source.fileno()).st_size
        head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), size)
        sock.sendall(head)
        sock.sendfile(source)
    length, body = _answer(sock, path)
    while len(body) < length and (piece := sock.recv(PIECE_BYTES)):
        body += piece
    return body.decode()


def receive_head(sock: socket.socket) -> tuple[bytes, bytes] | None:
    """Return a head with its blank line, and the bytes after it; None at the end of the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(65536)
        if not piece:
            return None
        received += piece
    end = received.index(b"\r\n\r\n") + 4
    return received[:end], received[end:]


def content_length(head: bytes) -> int:
    """What a head says of its body.

    Raises:
        BenchError: it says nothing: a proxy that chunks what had a length is not comparable.
    """
    found = _LENGTH.search(head)
    if found is None:
        raise BenchError(f"no Content-Length in {head[:300]!r}")
    return int(found[1])


def drop(sock: socket.socket, size: int) -> int:
    """Have the kernel drop this many bytes: MSG_TRUNC in tcp(7); returns how many there were before the end."""
    buffer, left = bytearray(min(size, PIECE_BYTES)), size
    while left:
        count = sock.recv_into(buffer, min(left, PIECE_BYTES), socket.MSG_TRUNC)
        if not count:
            break
        left -= count
    return size - left


def digest(sock: socket.socket, body: bytes, length: int) -> str:
    """The SHA-256 of a body of which some has come."""
    summed, left = hashlib.sha256(body), length - len(body)
    while left and (piece := sock.recv(min(left, PIECE_BYTES))):
        summed.update(piece)
        left -= len(piece)
    return summed.hexdigest()


def _ask(sock: socket.socket, path: str) -> tuple[int, bytes]:
    sock.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
    return _answer(sock, path)


def _answer(sock: socket.socket, path: str) -> tuple[int, bytes]:
    head = receive_head(sock)
    if head is None or b" 200 " not in head[0][:20]:
        raise BenchError(f"{path} was answered {head[0][:100] if head else b''!r}")
    return content_length(head[0]), head[1]
