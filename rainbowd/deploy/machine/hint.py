"""Which line of the config would make an app healthy, where its answer says enough to guess."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from rainbowd.config import Health

_PROTO = "X-Forwarded-Proto"


def hint(status: int, location: str | None, health: Health) -> str | None:
    """The line to write, in a sentence; None where the fault is the app's.

    Args:
        status: of the answer.
        location: its field of that name.
        health: how it was asked.
    """
    if location is not None:
        return _of_redirect(status, location, health)
    host = f"it was asked as host {health.host!r}; where it wants another, set health.host"
    if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.MISDIRECTED_REQUEST}:
        return host
    if status == HTTPStatus.UNAUTHORIZED:
        return f"set health.path to a page for all, or {_take(status)}"
    if status == HTTPStatus.FORBIDDEN:  # Rails' answer to a host that it does not know, and many a login's
        return f"{host}; else set health.path to a page for all, or {_take(status)}"
    if status == HTTPStatus.NOT_FOUND:
        return f"there is no page {health.path!r}; set health.path"
    return None


def _of_redirect(status: int, location: str, health: Health) -> str:
    if location.startswith("https:"):
        if _PROTO.lower() in map(str.lower, health.headers):
            return f"it forces HTTPS and does not heed {_PROTO}; set {_take(status)}"
        return f'where it forces HTTPS, set health.headers to {{"{_PROTO}": "https"}}'
    if urlsplit(location).path == f"{health.path}/":
        return f'set health.path to "{health.path}/"'
    return f"redirects are not followed; set health.path to a page that needs none, or {_take(status)}"


def _take(status: int) -> str:
    return f'health.status to "200-299,{status:d}"'
