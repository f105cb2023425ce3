"""The upstream of uploads: reads a body and says what it had of it.  ``python -m bench.sink PORT``.

It answers with the number of bytes, or on ``/digest`` with their SHA-256.  Without a digest the kernel drops the bytes
(MSG_TRUNC, tcp(7)), so that a receiver in Python is no brake.  nginx cannot stand here: what it returns by itself it
sends before the body is read.
"""

from __future__ import annotations

import socket
import sys
import threading

from bench.machine import HOST
from bench.transfer import content_length, digest, drop, receive_head

DIGEST = b"/digest"


def serve(port: int) -> None:
    """A thread for each connection."""
    with socket.create_server((HOST, port), backlog=4096) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_converse, args=(sock,), daemon=True).start()


def _converse(sock: socket.socket) -> None:
    with sock:
        while head := receive_head(sock):
            fields, body = head
            length = content_length(fields)
            path = fields.split(b" ", 2)[1]
            answer = (digest(sock, body, length) if path == DIGEST else str(_count(sock, body, length))).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


def _count(sock: socket.socket, body: bytes, length: int) -> int:
    return len(body) + drop(sock, length - len(body))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
