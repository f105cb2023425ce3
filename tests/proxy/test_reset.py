"""The options for a close that the peer notices at once."""

from __future__ import annotations

import socket

import pytest

from rainbowd.proxy.reset import reset_on_close, unread_bytes


def test_a_close_after_the_option_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        near, _ = server.accept()
        reset_on_close(near)
        near.close()
        with pytest.raises(ConnectionResetError):
            far.recv(1)


def test_bytes_that_the_peer_has_not_read_are_counted() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert unread_bytes(near) == 0
        near.send(b"x" * 100)
        assert unread_bytes(near) >= 100
        far.recv(100)
        assert unread_bytes(near) == 0
