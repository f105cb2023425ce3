"""``rainbowd proxy``: run only the proxy, in front of an app that rainbowd does not manage."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd import log
from rainbowd.address import Address, parse_address
from rainbowd.cli.terminal import print_error
from rainbowd.config import DEFAULT_TRUST, Hold, parse_limits
from rainbowd.errors import UsageError
from rainbowd.json_file import format_value
from rainbowd.listeners import Listener, close_all, open_listeners
from rainbowd.proxy import ProxySettings, Server
from rainbowd.roster import Generation, Roster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STOP_SECONDS = 25.0


def proxy(upstream: str, listen: str, limits: list[str]) -> int:
    """Forward requests until TERM or INT; a second signal does not wait for requests in flight.

    Args:
        upstream: ``HOST:PORT`` or ``unix:PATH``.
        listen: the same.
        limits: ``NAME=VALUE``, names and values as in the config's ``limits``.

    Raises:
        UsageError: an argument is invalid, or the address is in use.
    """
    target = _address("--upstream", upstream)
    settings = ProxySettings(limits=parse_limits(limits), hold=Hold(), trust=DEFAULT_TRUST, managed=False)
    listeners = open_listeners(_address("--listen", listen), report=print_error)
    log.configure("info", "auto")
    log.get_logger().info("ready", listen=", ".join(listener.address for listener in listeners), upstream=str(target))
    try:
        trio.run(_serve, target, settings, listeners)
    finally:
        close_all(listeners)
        log.flush(1.0)
    return 0


async def _serve(target: Address, settings: ProxySettings, listeners: list[Listener]) -> None:
    roster = Roster()
    generation = Generation(1, Path(), target)
    roster.add(generation)
    roster.promote(generation, live_at=0.0)
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_handle_signals, signals, stop, nursery.cancel_scope)
            await Server(roster, settings).serve(listeners, stop, STOP_SECONDS)
            nursery.cancel_scope.cancel()


async def _handle_signals(signals: AsyncIterator[int], stop: trio.Event, scope: trio.CancelScope) -> None:
    async for _ in signals:
        if stop.is_set():
            scope.cancel()
        stop.set()


def _address(option: str, text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise UsageError(f"{option}: found {format_value(text)}; {error}") from None
