from __future__ import annotations

import socket
from contextlib import closing

import pytest

from rainbowd.config import PortRange
from rainbowd.deploy.host import ports
from rainbowd.deploy.host.ports import choose_port, is_free
from rainbowd.errors import DeployFailed

FIRST, LAST = 20000, 29999


@pytest.fixture
def free() -> int:
    """A port that is free for now, with its neighbour."""
    while True:
        port = choose_port(PortRange(FIRST, LAST - 1), ())
        if is_free(port + 1):
            return port


def test_a_port_of_the_range_is_chosen() -> None:
    assert FIRST <= choose_port(PortRange(FIRST, LAST), ()) <= LAST


def test_both_ends_belong_to_the_range(free: int) -> None:
    both = PortRange(free, free + 1)
    assert choose_port(both, {free}) == free + 1
    assert choose_port(both, {free + 1}) == free


def test_the_start_is_random() -> None:
    assert len({choose_port(PortRange(FIRST, LAST), ()) for _ in range(20)}) > 1


def test_without_a_free_port_the_range_is_named(free: int) -> None:
    with pytest.raises(DeployFailed, match=rf"^ports: no free port in {free}-{free}$"):
        choose_port(PortRange(free, free), {free})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "127.0.0.2", "::1", "::"])
def test_a_port_that_somebody_listens_on_is_passed_over(free: int, host: str) -> None:
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind((host, free))
        stranger.listen()
        assert choose_port(PortRange(free, free + 1), ()) == free + 1
        assert not is_free(free)
    assert is_free(free)


def test_a_port_that_somebody_has_bound_is_passed_over(free: int) -> None:
    with closing(socket.socket()) as stranger:
        stranger.bind(("127.0.0.1", free))
        assert choose_port(PortRange(free, free + 1), ()) == free + 1


def test_a_port_with_lingering_connections_is_the_last_resort(free: int) -> None:
    with closing(socket.create_server(("127.0.0.1", free))) as server:
        client = socket.create_connection(("127.0.0.1", free))
        accepted, _ = server.accept()
        accepted.close()  # who closes first has the port linger
        client.close()
    assert choose_port(PortRange(free, free + 1), ()) == free + 1
    assert choose_port(PortRange(free, free), ()) == free


def test_ports_for_outgoing_connections_come_last(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral_ports", lambda: range(free, free + 1))
    assert {choose_port(PortRange(free, free + 1), ()) for _ in range(20)} == {free + 1}
    assert choose_port(PortRange(free, free + 1), {free + 1}) == free


def test_a_port_is_chosen_on_a_kernel_without_ipv6(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def no_ipv6(family: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError("Address family not supported by protocol")
        return real(family)

    monkeypatch.setattr(socket, "socket", no_ipv6)
    assert choose_port(PortRange(free, free), ()) == free
