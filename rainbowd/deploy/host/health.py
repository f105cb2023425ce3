"""Whether a generation answers as it should: one request per probe, each on a connection of its own.

The status decides, if the proxy can pass the answer on to clients. The rest of what the app sends is quoted when the
status is a wrong one.
"""

from __future__ import annotations

import math
import string
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import trio

from rainbowd.address import UnixAddress
from rainbowd.deploy.host.connect import connect
from rainbowd.deploy.host.hint import config_hint, hint_at_protocol
from rainbowd.errors import DeployFailed
from rainbowd.plain_text import escape_control, plain, without_escapes

# httpx does without its command line where that cannot be imported, which None says to the import system: where click
# is installed, it and rich behind it are a fifth of a start.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
try:
    import httpx

    from rainbowd.deploy.host.transport import AppTransport
finally:
    if sys.modules["httpx._main"] is None:
        del sys.modules["httpx._main"]

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rainbowd.address import Address
    from rainbowd.config import Health

FIRST_PAUSE_SECONDS = 0.01
PAUSE_GROWTH = 1.2
"""A check is late by a fifth of the app's boot at the most."""
QUOTED_BYTES = 200
"""How much of an unhealthy answer's body is quoted."""
BODY_BYTES = 65536
BODY_SECONDS = 1.0
"""How much of a healthy answer's body is read to see that the proxy can pass it on, and for how long."""


@dataclass(frozen=True)
class Seen:
    """What one probe saw.

    Attributes:
        brief: in a few words, such as ``503 Service Unavailable``.
        problem: in one sentence; None if the app is healthy.
        is_answer: a process has answered, which may be one of another service.
    """

    brief: str
    problem: str | None
    is_answer: bool = False


class Prober:
    """Asks over plain HTTP/1.1, directly, whatever proxy the environment names."""

    async def probe(self, address: Address, health: Health) -> Seen:
        """Ask once, for ``health.timeout`` seconds at most."""
        probe = _Probe(address, health)
        try:
            with trio.move_on_after(health.timeout):
                await probe.run()
        except OSError as error:
            brief = error.strerror or str(error)
            return Seen(brief, f"{address}: {brief}")
        return probe.seen()


class _Probe:
    """One request, and as much of its answer as has come, so that this is known when time runs out."""

    def __init__(self, address: Address, health: Health) -> None:
        self._address = address
        self._health = health
        self._status: int | None = None
        self._reason = ""
        self._location: str | None = None
        self._body = b""
        self._refusal: str | None = None  # the proxy's
        self._hint: str | None = None
        self._is_answer = False

    async def run(self) -> None:
        """Connect, ask and read.

        Raises:
            OSError: the app does not accept connections.
        """
        async with AppTransport(await connect(self._address)) as transport:
            try:
                await self._read(await transport.handle_async_request(_request(self._address, self._health)))
            except httpx.RemoteProtocolError as error:
                self._refusal = str(error)
                self._hint = await hint_at_protocol(transport.first, self._address)
            finally:
                self._is_answer = bool(transport.first)

    async def _read(self, response: httpx.Response) -> None:
        self._location = response.headers.get("location")
        self._reason = plain(response.reason_phrase)
        self._status = response.status_code
        is_healthy = self._health.status.matches(self._status)
        limit_bytes, limit_seconds = (BODY_BYTES, BODY_SECONDS) if is_healthy else (QUOTED_BYTES, math.inf)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        with trio.move_on_after(limit_seconds):
            async for chunk in response.stream:
                self._body += chunk
                if len(self._body) >= limit_bytes:
                    break

    def seen(self) -> Seen:
        """Judge what has come."""
        brief, problem = self._judged()
        if problem is not None and self._hint is not None:
            problem += f" ({self._hint})"
        return Seen(brief, problem, self._is_answer)

    def _judged(self) -> tuple[str, str | None]:
        if self._status is None and self._refusal is not None:
            brief = f"the answer cannot be used: {self._refusal}"
            return brief, f"{self._address}: {brief}"
        if self._status is None:
            within = f"within {self._health.timeout:g} s"
            return f"no answer {within}", f"no answer from {self._address} {within}"
        brief = f"{self._status} {self._reason}".rstrip()
        seen = f"{self._address} answered {brief}"
        if not self._health.status.matches(self._status):
            return brief, seen + self._explained()
        if self._refusal is not None:
            flaw = f", but the answer cannot be used: {self._refusal}"
            return brief + flaw, seen + flaw
        return brief, None

    def _explained(self) -> str:
        """What an unhealthy answer says beside its status, and the line of the config that would make it healthy."""
        assert self._status is not None
        location = "" if self._location is None else f", Location {self._location!r}"
        body = f": {_quoted(self._body)}" if self._body else ""
        line = config_hint(self._status, self._location, self._body, self._health)
        return location + body + ("" if line is None else f" ({line})")


def _quoted(body: bytes) -> str:
    return f"'{escape_control(without_escapes(body[:QUOTED_BYTES].decode(errors='replace')))}'"


async def until_healthy(ask: Callable[[], Awaitable[str | None]], health: Health) -> None:
    """Ask, often at first and then less so, until enough answers in a row were healthy.

    Args:
        ask: returns what is wrong with the app, in one sentence; None if nothing is.
        health: how often to ask, and for how long.

    Raises:
        DeployFailed: they were not by the deadline; the reason says what was last seen.
    """
    seen, passes, pause_seconds = "no answer yet", 0, FIRST_PAUSE_SECONDS
    with trio.move_on_after(health.deadline):
        while passes < health.passes:
            await trio.sleep(min(pause_seconds, health.interval))
            pause_seconds *= PAUSE_GROWTH
            problem = await ask()
            passes = 0 if problem else passes + 1
            seen = problem or f"{passes} healthy in a row, {health.passes} wanted"
        return
    raise DeployFailed(f"not healthy within {health.deadline:g} s; last seen: {seen}")


def _request(address: Address, health: Health) -> httpx.Request:
    headers = httpx.Headers(
        {"Host": health.host, "User-Agent": "rainbowd", "Accept": "*/*", "Accept-Encoding": "identity"}
    )
    headers.update(health.headers)
    # The path goes as it is written, but for what no request line can hold (RFC 9112 §3.2).
    target = quote(health.path, safe=string.punctuation).encode()
    origin = "localhost" if isinstance(address, UnixAddress) else str(address)
    return httpx.Request("GET", f"http://{origin}/", headers=headers, extensions={"target": target})
