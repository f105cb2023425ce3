from __future__ import annotations

from ipaddress import ip_network

import pytest

from rainbowd.http1 import RequestHead, parse_request
from rainbowd.proxy.client_identity import client_address, client_identity, is_within

TRUST = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("::1/128"))


def request(*fields: bytes, trusted: bool = True) -> RequestHead:
    head = b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *fields, b"", b""])
    return parse_request(head, trusted=trusted)


@pytest.mark.parametrize(
    ("hops", "peer", "address"),
    [
        (b"", b"192.0.2.1", b"192.0.2.1"),
        (b"", b"127.0.0.1", b"127.0.0.1"),
        (b"198.51.100.7", b"127.0.0.1", b"198.51.100.7"),
        (b"6.6.6.6, 198.51.100.7", b"127.0.0.1", b"198.51.100.7"),
        (b"198.51.100.7, 10.0.0.3", b"127.0.0.1", b"198.51.100.7"),
        (b"10.0.0.9, 10.0.0.3", b"127.0.0.1", b"10.0.0.9"),
        (b"2001:db8::1", b"::1", b"2001:db8::1"),
        (b"unknown", b"127.0.0.1", b"unknown"),
        (b"198.51.100.7", None, b"198.51.100.7"),
        (b"", None, b""),
    ],
)
def test_the_client_is_the_last_hop_that_is_not_trusted(hops: bytes, peer: bytes | None, address: bytes) -> None:
    fields = (b"X-Forwarded-For: " + hops,) if hops else ()
    assert client_address(request(*fields), peer, TRUST) == address


def test_an_untrusted_peer_cannot_choose_its_address() -> None:
    head = request(b"X-Forwarded-For: 198.51.100.7", trusted=False)
    assert client_address(head, b"192.0.2.1", TRUST) == b"192.0.2.1"


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("client", b"192.0.2.1"),
        ("cookie:session", b"abc"),
        ("cookie:theme", b"dark"),
        ("cookie:sess", b"192.0.2.1"),
        ("header:X-User", b"7"),
        ("header:x-user", b"7"),
        ("header:X-Missing", b"192.0.2.1"),
    ],
)
def test_a_cookie_or_a_header_identifies_a_client_and_else_its_address(by: str, expected: bytes) -> None:
    head = request(b"cookie: theme=dark; session=abc", b"X-User: 7", b"Cookie: session=later")
    assert client_identity(head, b"192.0.2.1", by) == expected


def test_an_ipv4_address_within_ipv6_is_compared_as_ipv4() -> None:
    assert is_within(b"::ffff:10.1.2.3", TRUST)
    assert not is_within(b"not an address", TRUST)
