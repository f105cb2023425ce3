from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rainbowd.address import Address, TcpAddress, UnixAddress, family, parse_address, sockaddr

GOOD: list[tuple[str, Address]] = [
    ("0.0.0.0:7000", TcpAddress("0.0.0.0", 7000)),
    ("localhost:0", TcpAddress("localhost", 0)),
    ("app.example:65535", TcpAddress("app.example", 65535)),
    ("[::1]:80", TcpAddress("::1", 80)),
    ("[::]:80", TcpAddress("::", 80)),
    ("unix:/run/app.sock", UnixAddress(Path("/run/app.sock"))),
    ("unix:run/a:b.sock", UnixAddress(Path("run/a:b.sock"))),
]


@pytest.mark.parametrize(("text", "address"), GOOD)
def test_an_address_is_read_and_written_the_same_way(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "7000",
        ":7000",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:-1",
        "localhost:+80",
        "localhost: 80",
        "localhost:65536",
        "localhost:٨٠",
        "localhost:" + "9" * 5000,
        "::1:80",
        "[::1]",
        "[::1]80",
        "[]:80",
        "[localhost]:80",
        "[127.0.0.1]:80",
        "unix:",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::1:80", r'such as "\[::1\]:80"$'),
        ("::1", r'in brackets and a port, such as "\[::1\]:7000"$'),
        ("http://127.0.0.1:1/", 'an address without http://, such as "127.0.0.1:1"$'),
        ("http://", 'an address without http://, such as "127.0.0.1:7000"$'),
        ("7000", 'such as "127.0.0.1:7000", or "0.0.0.0:7000" for every interface$'),
        (":7000", 'such as "127.0.0.1:7000", or "0.0.0.0:7000" for every interface$'),
        ("localhost", 'such as "127.0.0.1:7000"$'),
        ("127.0.0.1:70000", "^expected a port of at most 65535$"),
        ("[::1]:70000", "^expected a port of at most 65535$"),
        ("localhost:" + "9" * 5000, "^expected a port of at most 65535$"),
        ("a:b:80", 'such as "127.0.0.1:7000"$'),
    ],
)
def test_a_common_mistake_gets_a_suggestion(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_address(text)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (TcpAddress("127.0.0.1", 80), (socket.AF_INET, ("127.0.0.1", 80))),
        (TcpAddress("::1", 80), (socket.AF_INET6, ("::1", 80))),
        (UnixAddress(Path("/a")), (socket.AF_UNIX, "/a")),
    ],
)
def test_an_address_has_a_family_and_a_socket_address(address: Address, expected: object) -> None:
    assert (family(address), sockaddr(address)) == expected


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0"])
def test_the_socket_address_can_be_bound(text: str) -> None:
    address = parse_address(text)
    with socket.socket(family(address)) as listener:
        try:
            listener.bind(sockaddr(address))
        except OSError as error:
            pytest.skip(f"this machine has no such address: {error}")
        assert listener.getsockname()[1] != 0
