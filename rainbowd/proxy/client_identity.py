"""Who sends a request, as far as its head and its connection show."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.http1 import RequestHead
    from rainbowd.proxy.settings import Network


def client_address(request: RequestHead, peer: bytes | None, trust: Sequence[Network]) -> bytes:
    """Return the client's address: the last hop that is not a trusted proxy.

    Args:
        request: has the hops, if the peer is trusted.
        peer: the IP address that the connection comes from; None for a Unix socket.
        trust: the networks of the trusted proxies.

    Returns:
        An address, or whatever a trusted peer has sent in its place; empty if nothing is known.
    """
    hops = [hop.strip() for hop in request.forwarded_for.split(b",") if hop.strip()]
    if peer is not None:
        hops.append(peer)
    for hop in reversed(hops):
        if not is_within(hop, trust):
            return hop
    return hops[0] if hops else b""


def is_within(address: bytes, networks: Sequence[Network]) -> bool:
    """Return whether ``address`` is an IP address in one of ``networks``."""
    try:
        parsed = ipaddress.ip_address(address.decode("latin-1"))
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def client_identity(request: RequestHead, address: bytes, by: str) -> bytes:
    """Return what identifies a client: the value of a cookie or a field if the request has it, else its address.

    Args:
        request: the head of the request.
        address: the client's address.
        by: ``client``, ``cookie:NAME`` or ``header:NAME``.
    """
    kind, _, name = by.partition(":")
    value = b""
    if kind == "header":
        value = field_value(request, name.encode())
    elif kind == "cookie":
        value = cookie_value(field_value(request, b"cookie", joined_by=b"; "), name.encode())
    return value or address


def field_value(request: RequestHead, name: bytes, *, joined_by: bytes = b", ") -> bytes:
    """Return the value of a field that is relayed unchanged; empty if the request does not have it.

    Args:
        request: the head of the request.
        name: the name of the field, in any case.
        joined_by: put between the values of several fields with this name.
    """
    lines = (line.partition(b":") for line in request.lines)
    return joined_by.join(value.strip(b" \t") for key, _, value in lines if key.lower() == name.lower())


def cookie_value(cookies: bytes, name: bytes) -> bytes:
    """Return the value of the first cookie ``name`` in ``cookies``; empty if there is none: RFC 6265 section 4.2.1."""
    pairs = (pair.strip(b" \t").partition(b"=") for pair in cookies.split(b";"))
    return next((value for key, _, value in pairs if key == name), b"")
