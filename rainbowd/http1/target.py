"""The host and the target of a request, in any of the forms of RFC 9112 section 3.2."""

from __future__ import annotations

import re

from rainbowd.http1.errors import Refusal

_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=\x80-\xff-]++|%[0-9A-Fa-f]{2})+"  # a name, by RFC 3986; raw UTF-8 too
    rb"|\[[0-9A-Fa-f:.]++(?:%25(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+)?\])"  # an IPv6 address with its zone: RFC 6874
    rb"(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)(.*)", re.DOTALL | re.IGNORECASE)
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
_BAD_REQUEST = 400


def choose_host(values: list[bytes], target: bytes, minor: int) -> bytes:
    """Return the host that a request is for.

    Args:
        values: of its ``Host`` fields. HTTP/1.0 may have none, or an empty one: then the host is that of the target,
            or ``localhost``.
        target: the target as it was sent.
        minor: the minor version of HTTP.

    Raises:
        Refusal: there is no host, there are several, or it is invalid.
    """
    if len(values) == 1 and _HOST.fullmatch(values[0]):
        return values[0]
    if len(values) != 1 and (values or minor):
        raise Refusal(_BAD_REQUEST, "There must be one Host field.")
    host = values[0] if values else b""
    if not host and not minor:
        match = _ABSOLUTE.fullmatch(target)
        host = match[2] if match else b"localhost"
    if not _HOST.fullmatch(host):
        raise Refusal(_BAD_REQUEST, "The Host field cannot be read.")
    return host


def to_origin_form(target: bytes, method: bytes, host: bytes) -> bytes:
    """Return a target that does not begin with a slash in origin form, or ``*``: RFC 9112 section 3.2.

    Args:
        target: the target as it was sent.
        method: of the request.
        host: from ``choose_host``.

    Raises:
        Refusal: it is in no form that this method allows, or names a host other than ``host``.
    """
    if target == b"*" and method == b"OPTIONS":
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise Refusal(_BAD_REQUEST, "The request target cannot be read.")
    scheme, authority, path = match.groups()
    default_port = _DEFAULT_PORTS[scheme.lower()]
    if _normal(authority, default_port) != _normal(host, default_port):
        raise Refusal(_BAD_REQUEST, "The request target and Host name different hosts.")
    if not path and method == b"OPTIONS":
        return b"*"  # RFC 9112 section 3.2.4
    return path if path[:1] == b"/" else b"/" + path


def _normal(authority: bytes, default_port: bytes) -> bytes:
    return authority.lower().removesuffix(default_port).removesuffix(b":")
