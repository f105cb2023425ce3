"""Health checks over HTTP: one request per probe, each on a new connection.

The status decides, provided that the proxy can pass the response on to clients.  If the status is wrong, the beginning
of the response is quoted.
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
from rainbowd.deploy.host.config_hint import config_hint, hint_at_protocol
from rainbowd.deploy.host.connect import connect
from rainbowd.errors import DeployFailed
from rainbowd.plain_text import escape_control, plain, without_escapes

# None makes the import of httpx's command line fail, which httpx accepts.  If click is installed, importing it together
# with rich takes a fifth of the agent's start.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
try:
    import httpx

    from rainbowd.deploy.host.httpx_transport import AppTransport
finally:
    if sys.modules["httpx._main"] is None:
        del sys.modules["httpx._main"]

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rainbowd.address import Address
    from rainbowd.config import Health

FIRST_PAUSE_SECONDS = 0.01
PAUSE_GROWTH = 1.2
"""A check is late by at most a fifth of the app's start."""
QUOTED_BYTES = 200
"""How much of an unhealthy response's body is quoted."""
BODY_BYTES = 65536
BODY_SECONDS = 1.0
"""How much of a healthy response's body is read to check that the proxy can pass it on, and for how long."""


@dataclass(frozen=True)
class ProbeResult:
    """The result of one probe.

    Attributes:
        brief: in a few words, such as ``503 Service Unavailable``.
        problem: in one sentence; None if the app is healthy.
        is_answer: whether a process answered, which may belong to another service.
    """

    brief: str
    problem: str | None
    is_answer: bool = False


class Prober:
    """A sender of health checks over plain HTTP/1.1, which uses no proxy of the environment."""

    async def probe(self, address: Address, health: Health) -> ProbeResult:
        """Send one request, for at most ``health.timeout`` seconds.

        Args:
            address: of the app.
            health: the config of the check.
        """
        probe = _Probe(address, health)
        try:
            with trio.move_on_after(health.timeout):
                await probe.run()
        except OSError as error:
            brief = error.strerror or str(error)
            return ProbeResult(brief, f"{address}: {brief}")
        return probe.result()


class _Probe:
    """One request, and as much of its response as has arrived, so that a timeout can report it."""

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
        """Connect, send the request and read the response.

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

    def result(self) -> ProbeResult:
        """Return the result, from what has arrived so far."""
        brief, problem = self._evaluate()
        if problem is not None and self._hint is not None:
            problem += f" ({self._hint})"
        return ProbeResult(brief, problem, self._is_answer)

    def _evaluate(self) -> tuple[str, str | None]:
        if self._status is None and self._refusal is not None:
            brief = f"the answer cannot be used: {self._refusal}"
            return brief, f"{self._address}: {brief}"
        if self._status is None:
            within = f"within {self._health.timeout:g} s"
            return f"no answer {within}", f"no answer from {self._address} {within}"
        brief = f"{self._status} {self._reason}".rstrip()
        seen = f"{self._address} answered {brief}"
        if not self._health.status.matches(self._status):
            return brief, seen + self._details()
        if self._refusal is not None:
            flaw = f", but the answer cannot be used: {self._refusal}"
            return brief + flaw, seen + flaw
        return brief, None

    def _details(self) -> str:
        """Return the details of an unhealthy response, and the config line that would make it healthy."""
        assert self._status is not None
        location = "" if self._location is None else f", Location {self._location!r}"
        body = f": {_quoted(self._body)}" if self._body else ""
        line = config_hint(self._status, self._location, self._body, self._health)
        return location + body + ("" if line is None else f" ({line})")


def _quoted(body: bytes) -> str:
    return f"'{escape_control(without_escapes(body[:QUOTED_BYTES].decode(errors='replace')))}'"


async def until_healthy(probe: Callable[[], Awaitable[str | None]], health: Health) -> None:
    """Probe, at first often and then less often, until enough results in a row are healthy.

    Args:
        probe: returns what is wrong with the app, in one sentence; None if nothing is.
        health: how often to probe, and for how long.

    Raises:
        DeployFailed: the deadline has passed; the reason contains the last result.
    """
    last, passes, pause_seconds = "no answer yet", 0, FIRST_PAUSE_SECONDS
    with trio.move_on_after(health.deadline):
        while passes < health.passes:
            await trio.sleep(min(pause_seconds, health.interval))
            pause_seconds *= PAUSE_GROWTH
            problem = await probe()
            passes = 0 if problem else passes + 1
            last = problem or f"{passes} healthy in a row, {health.passes} wanted"
        return
    raise DeployFailed(f"not healthy within {health.deadline:g} s; last seen: {last}")


def _request(address: Address, health: Health) -> httpx.Request:
    headers = httpx.Headers(
        {"Host": health.host, "User-Agent": "rainbowd", "Accept": "*/*", "Accept-Encoding": "identity"}
    )
    headers.update(health.headers)
    # The path is sent as it is written, except for characters that a request line cannot contain (RFC 9112 §3.2).
    target = quote(health.path, safe=string.punctuation).encode()
    origin = "localhost" if isinstance(address, UnixAddress) else str(address)
    return httpx.Request("GET", f"http://{origin}/", headers=headers, extensions={"target": target})
