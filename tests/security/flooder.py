"""Uploads the same chunk again and again: ``python flooder.py HOST PORT CHUNK``, until it is terminated.

It prints a line once the upload has begun, and at the end how many bytes were taken from it.
"""

from __future__ import annotations

import signal
import socket
import sys

PIECE_BYTES = 64 << 10

host, port, chunk = sys.argv[1:]
stream = socket.create_connection((host, int(port)))
stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE_BYTES)  # or megabytes that wait there would count as taken
stream.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
piece = chunk.encode() * (PIECE_BYTES // len(chunk))
sent_bytes = 0


def end(*_: object) -> None:
    print(sent_bytes, flush=True)
    sys.exit()


signal.signal(signal.SIGTERM, end)
stream.sendall(piece)
print("floods", flush=True)
while True:
    sent_bytes += stream.send(piece[sent_bytes % len(piece) :])
