"""The upstream of WebSockets: sends each frame back.  ``python -m bench.echo PORT``."""

from __future__ import annotations

import contextlib
import select
import socket
import sys

from bench.frames import CLIENT_BYTES, acceptance, answer_to
from bench.machine import HOST


def serve(port: int) -> None:
    """All connections on one epoll."""
    with socket.create_server((HOST, port), backlog=4096) as listener, select.epoll() as epoll:
        epoll.register(listener, select.EPOLLIN)
        connections: dict[int, Connection] = {}
        while True:
            for fd, _ in epoll.poll():
                if fd == listener.fileno():
                    connection = Connection(listener.accept()[0])
                    connections[connection.sock.fileno()] = connection
                    epoll.register(connection.sock, select.EPOLLIN)
                elif not connections[fd].read():
                    connections.pop(fd).sock.close()


class Connection:
    """One client: first a head, then frames; what it sends us fits into a socket's buffer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = b""
        self._open = False

    def read(self) -> bool:
        """Answer what has come; whether there may come more."""
        with contextlib.suppress(OSError):
            piece = self.sock.recv(65536)
            if not piece:
                return False
            self._received += piece
            self.sock.sendall(self._answers() if self._open else self._accept())
            return True
        return False

    def _accept(self) -> bytes:
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return b""
        self._received, self._open = rest, True
        return acceptance(head + b"\r\n") + self._answers()

    def _answers(self) -> bytes:
        received = self._received
        whole = len(received) - len(received) % CLIENT_BYTES
        self._received = received[whole:]
        return b"".join(answer_to(received[at : at + CLIENT_BYTES]) for at in range(0, whole, CLIENT_BYTES))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
