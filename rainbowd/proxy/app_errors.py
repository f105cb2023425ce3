"""The requests that an app fails: what counts as its error, and how the error is described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1 import Refusal
from rainbowd.proxy.failures import AppBroke

if TYPE_CHECKING:
    from rainbowd.proxy.exchange import Exchange

SERVER_ERROR = 500
"""The lowest status that is an error of the app: RFC 9110 section 15.6."""
PATH_CHARACTERS = 80
"""How much of a path a description contains."""
_OF_THE_APP = frozenset({502, 504})
"""The statuses of our own answers if the app broke off, was not reachable, or did not answer in time."""


def count_app_error(exchange: Exchange, failure: Exception | None) -> None:
    """Count an exchange that did not end well as an error of its generation, if the app caused that.

    Args:
        exchange: has ended.
        failure: why it failed; None if the complete response was relayed.
    """
    generation = exchange.generation
    if generation is None:
        return
    if isinstance(failure, Refusal):
        if failure.status in _OF_THE_APP:
            generation.count_error(describe(exchange, str(failure.status)))
    elif exchange.status >= SERVER_ERROR:
        generation.count_error(describe(exchange, str(exchange.status)))
    elif isinstance(failure, AppBroke):
        generation.count_error(describe(exchange, "broken off"))


def describe(exchange: Exchange, result: str) -> str:
    """Return the request of ``exchange`` without its query, and ``result``: ``GET /basket: 500``."""
    request = exchange.request
    path = request.target.partition(b"?")[0].decode("latin-1")[:PATH_CHARACTERS]
    return f"{request.method.decode('latin-1')} {path}: {result}"
