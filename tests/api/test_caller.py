from __future__ import annotations

import getpass
import socket

from rainbowd.api.caller import caller_name


def test_a_caller_on_tcp_has_the_name_of_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            assert caller_name(accepted) == "127.0.0.1"


def test_a_caller_on_a_unix_socket_has_the_name_of_its_user() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert caller_name(ours) == getpass.getuser()


def test_a_caller_that_has_disconnected_has_no_name() -> None:
    with socket.socket() as unconnected:
        assert caller_name(unconnected) is None
