"""Guessing from an app's response which line of the config would make its health check pass."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rainbowd.deploy.host.connect import is_tls, speaks_tls

if TYPE_CHECKING:
    from rainbowd.address import Address
    from rainbowd.config import Health

_PROTO = "X-Forwarded-Proto"
_TLS = "it speaks TLS: let it speak plain HTTP here"
_HTTP_2 = "it speaks HTTP/2 only: let it speak HTTP/1.1 here"
_WANTS_TLS = re.compile(rb"HTTP request to an HTTPS server|HTTP request was sent to HTTPS|HTTP to an SSL-enabled")
"""The responses of Go, nginx and Apache httpd to plain HTTP on a TLS port."""
_SETTINGS_FRAME = re.compile(rb"\x00..\x04.\x00\x00\x00\x00", re.DOTALL)
"""The first frame of an HTTP/2 server: RFC 9113 section 3.4."""


async def hint_at_protocol(first: bytes, address: Address) -> str | None:
    """Return which protocol an app seems to speak instead of HTTP/1.1, as a sentence; None if that is not clear.

    Args:
        first: the first bytes of its response; if there are none, a TLS handshake is tried.
        address: of the app.
    """
    if is_tls(first) or (not first and await speaks_tls(address)):
        return _TLS
    return _HTTP_2 if _SETTINGS_FRAME.match(first) else None


def config_hint(status: int, location: str | None, body: bytes, health: Health) -> str | None:
    """Return which config line to write, in a sentence; None if the config cannot help.

    Args:
        status: of the response.
        location: the value of its Location field; None if it has none.
        body: its first bytes.
        health: the config of the check.
    """
    if location is not None:
        return _hint_for_redirect(status, location, health)
    return _TLS if _WANTS_TLS.search(body) else _hint_for_refusal(status, health)


def _hint_for_refusal(status: int, health: Health) -> str | None:
    host = f"the Host field was {health.host!r}; if the app expects another, set health.host"
    if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.MISDIRECTED_REQUEST}:
        return host
    if status == HTTPStatus.UNAUTHORIZED:
        return f"set health.path to a page for all, or {_accept(status)}"
    if status == HTTPStatus.FORBIDDEN:  # Rails' answer to a host that it does not know, and many a login's
        return f"{host}; else set health.path to a page for all, or {_accept(status)}"
    if status == HTTPStatus.NOT_FOUND:
        return f"there is no page {health.path!r}; set health.path"
    return None


def _hint_for_redirect(status: int, location: str, health: Health) -> str:
    if location.startswith("https:"):
        if _PROTO.lower() in map(str.lower, health.headers):
            return f"it forces HTTPS and does not heed {_PROTO}; set {_accept(status)}"
        return f'if the app forces HTTPS, set health.headers to {{"{_PROTO}": "https"}}'
    if urlsplit(location).path == f"{health.path}/":
        return f'set health.path to "{health.path}/"'
    return f"redirects are not followed; set health.path to a page that needs none, or {_accept(status)}"


def _accept(status: int) -> str:
    return f'health.status to "200-299,{status:d}"'
