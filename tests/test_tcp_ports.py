"""TCP ports of this machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from rainbowd import tcp_ports
from rainbowd.address import TcpAddress

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("host", "asked", "is_listened_on"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", False),
    ],
)
def test_who_listens_is_seen_at_the_address_and_at_all(host: str, asked: str, is_listened_on: bool) -> None:
    with socket.create_server((host, 0)) as server:
        assert tcp_ports.is_listened_on(TcpAddress(asked, server.getsockname()[1])) is is_listened_on


def test_a_listener_of_both_families_is_seen_in_ipv4() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        assert tcp_ports.is_listened_on(TcpAddress("127.0.0.1", server.getsockname()[1]))


def test_a_connection_is_not_a_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert tcp_ports.is_listened_on(TcpAddress("127.0.0.1", client.getsockname()[1])) is False


def test_without_proc_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tcp").mkdir()
    monkeypatch.setattr(tcp_ports, "_TABLES", (tmp_path / "tcp",))
    assert tcp_ports.is_listened_on(TcpAddress("127.0.0.1", 1)) is None


def test_the_kernel_names_the_ports_of_outgoing_connections() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert probe.getsockname()[1] in tcp_ports.ephemeral_ports()


def test_ports_that_are_reserved_are_not_given_to_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ip_local_port_range").write_text("32768\t60999\n")
    (tmp_path / "ip_local_reserved_ports").write_text("40000,41000-41002\n")
    monkeypatch.setattr(tcp_ports, "_SYSCTL", tmp_path)
    ports = (32767, 32768, 60999, 61000, 40000, 41002, 41003)
    assert [tcp_ports.is_ephemeral(port) for port in ports] == [False, True, True, False, False, False, True]


def test_without_the_sysctl_no_port_counts_as_ephemeral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_ports, "_SYSCTL", tmp_path)
    assert not tcp_ports.is_ephemeral(40000)


def test_an_ip_address_resolves_to_itself() -> None:
    assert tcp_ports.resolve("127.0.0.1", 80) == [(socket.AF_INET, TcpAddress("127.0.0.1", 80))]
    assert tcp_ports.resolve("::1", 80) == [(socket.AF_INET6, TcpAddress("::1", 80))]
