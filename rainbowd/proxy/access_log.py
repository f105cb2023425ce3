"""What is counted and logged of each exchange when it has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rainbowd.http1 import OtherProtocol, Refusal
from rainbowd.log import get_logger
from rainbowd.log import request as log_request
from rainbowd.proxy.app_errors import SERVER_ERROR, count_app_error
from rainbowd.proxy.error_response import CLIENT_GONE
from rainbowd.proxy.failures import AppBroke, ClientGone

if TYPE_CHECKING:
    from rainbowd.proxy.client import Client
    from rainbowd.proxy.context import Context
    from rainbowd.proxy.exchange import Exchange
    from rainbowd.roster import Traffic

_APP_FAILED = frozenset({502, 504})

log = get_logger()


def log_exchange(context: Context, exchange: Exchange, failure: Exception | None) -> None:
    """Count and log an exchange that has ended.

    Args:
        context: has the counters, and the setting whether every request is logged.
        exchange: the exchange.
        failure: why it failed; None if the complete response was relayed.
    """
    if context.traffic is not None:
        _count(context.traffic, exchange, failure)
    if failure is None:
        if exchange.status >= SERVER_ERROR:
            count_app_error(exchange, None)
        if context.settings.access:
            log_request(_fields(exchange, exchange.status))
        return
    count_app_error(exchange, failure)
    is_gone = isinstance(failure, ClientGone)
    fields = _fields(exchange, CLIENT_GONE if is_gone else _status_sent(exchange, failure))
    if context.settings.access:
        log_request(fields)
    if is_gone:
        log.debug("the client closed the connection", **fields)
    elif isinstance(failure, AppBroke):
        log.warning("the app failed a request", reason=str(failure), **fields)
    elif isinstance(failure, Refusal) and failure.status in _APP_FAILED:
        log.warning("the app failed a request", reason=failure.cause, **fields)


def log_refusal(context: Context, client: Client, refusal: Refusal) -> None:
    """Count and log a request that was refused before it could be read.

    Args:
        context: has the counters, and the setting whether every request is logged.
        client: sent the request.
        refusal: the reason.
    """
    if context.traffic is not None:
        context.traffic.count_refusal(refusal.status)
    if context.settings.access:
        log_request({"status": refusal.status, "reason": refusal.text, "client": client.name})
    if isinstance(refusal, OtherProtocol) and context.other_protocols.try_pass():
        log.warning("a client does not speak HTTP", reason=refusal.text, client=client.name)


def _count(traffic: Traffic, exchange: Exchange, failure: Exception | None) -> None:
    if failure is None:
        traffic.count_response(exchange.status, exchange.sent_bytes, time.monotonic() - exchange.started_at)
    elif isinstance(failure, Refusal) and not exchange.status:
        traffic.count_refusal(failure.status)
    else:
        by_client = isinstance(failure, ClientGone)
        traffic.count_cut(exchange.status, exchange.sent_bytes, by_client=by_client)


def _status_sent(exchange: Exchange, failure: Exception) -> int:
    """Return the status of the app's response, or of the refusal that was sent in its place."""
    return failure.status if isinstance(failure, Refusal) and not exchange.status else exchange.status


def _fields(exchange: Exchange, status: int) -> dict[str, object]:
    """Return the fields of a line of the access log."""
    request, generation = exchange.request, exchange.generation
    return {
        "method": request.method.decode("latin-1"),
        "target": request.target.decode("latin-1"),
        "status": status,
        "bytes": exchange.sent_bytes,
        "seconds": round(time.monotonic() - exchange.started_at, 6),
        "generation": generation.id if generation is not None else None,
        "request_id": request.request_id.decode("latin-1"),
        "client": exchange.client.name,
    }
