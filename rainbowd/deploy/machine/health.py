"""Whether a generation answers as it should: one request a probe, each on a connection of its own.

Only the status decides, and it does as soon as the head of the answer is there; what else the app says is for
the reader of a failure.
"""

from __future__ import annotations

import os
import ssl
import string
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import trio

from rainbowd.address import UnixAddress
from rainbowd.deploy.machine.hint import hint
from rainbowd.errors import DeployFailed

# httpx does without its command line where that cannot be imported, which None says to the import system: where click
# is installed, it and rich behind it are a fifth of a start.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
try:
    import httpx
finally:
    if sys.modules["httpx._main"] is None:
        del sys.modules["httpx._main"]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rainbowd.address import Address
    from rainbowd.config import Health

FIRST_PAUSE_SECONDS = 0.01
PAUSE_GROWTH = 1.2
"""A check is late by a fifth of the app's boot at the most."""
BODY_BYTES = 200
"""How much of an unhealthy answer's body is quoted."""


class Prober:
    """Asks over plain HTTP/1.1, directly, whatever proxy the environment names."""

    def __init__(self) -> None:
        # Never used; without it httpx would read its certificates, 60 ms of CPU, for each probe.
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def probe(self, address: Address, health: Health) -> str | None:
        """Ask once.

        Returns:
            None where the answer is a healthy one, else what was seen, in one sentence.
        """
        answer = _Answer()
        try:
            with trio.move_on_after(health.timeout):
                await self._ask(address, health, answer)
        except httpx.ConnectError as error:
            return f"{address}: {_root_cause(error)}"
        except httpx.TransportError as error:
            if answer.is_our_own:
                return f"{address}: Connection refused"
            if answer.status is None:
                return f"{address} did not answer in HTTP: {error or type(error).__name__}"
        return answer.judged(address, health)

    async def _ask(self, address: Address, health: Health, answer: _Answer) -> None:
        """Fill ``answer`` with as much as comes, so that what has come is known when time runs out."""
        uds = str(address.path) if isinstance(address, UnixAddress) else None
        async with httpx.AsyncHTTPTransport(uds=uds, verify=self._tls, trust_env=False) as transport:
            response = await transport.handle_async_request(_request(address, health, answer))
            try:
                await answer.read(response, health)
            finally:
                await response.aclose()


@dataclass
class _Answer:
    """What has come of an answer.

    Attributes:
        is_our_own: the connection leads to itself, as one to a closed port of the ephemeral range may do
            (RFC 9293 §3.5, simultaneous open): nobody listens there.
    """

    status: int | None = None
    reason: str = ""
    location: str | None = None
    body: bytes = b""
    is_our_own: bool = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Told by httpcore of each step."""
        if event == "connection.connect_tcp.complete":
            stream = info["return_value"]
            with suppress(OSError):  # Reset already: then it has a peer.
                self.is_our_own = stream.get_extra_info("client_addr") == stream.get_extra_info("server_addr")

    async def read(self, response: httpx.Response, health: Health) -> None:
        self.location = response.headers.get("location")
        self.reason = response.reason_phrase
        self.status = response.status_code
        if health.status.matches(self.status):
            return
        with trio.CancelScope() as reading:  # Leaving the loop instead would leave generators of httpx behind.
            async for chunk in response.aiter_raw():
                self.body += chunk
                if len(self.body) >= BODY_BYTES:
                    reading.cancel()

    def judged(self, address: Address, health: Health) -> str | None:
        """None for a healthy answer, else a sentence; control characters in what the app said are escaped."""
        if self.status is None:
            return f"no answer from {address} within {health.timeout:g} s"
        if health.status.matches(self.status):
            return None
        seen = f"{address} answered {self.status} {self.reason}".rstrip()
        if self.location is not None:
            seen += f", Location {self.location!r}"
        if self.body:
            seen += f": {self.body[:BODY_BYTES].decode(errors='replace')!r}"
        line = hint(self.status, self.location, health)
        return seen if line is None else f"{seen} ({line})"


async def until_healthy(
    prober: Prober, address: Address, health: Health, on_check: Callable[[str], None] | None = None
) -> None:
    """Probe, often at first and then less so, until enough answers in a row were healthy.

    Args:
        prober: sends each probe.
        address: the app's.
        health: what to ask for, how often, and which answer is a healthy one.
        on_check: is given what each check got, in one line.

    Raises:
        DeployFailed: they were not by the deadline; the reason says what was last seen.
    """
    seen, passes, pause_seconds = "no answer yet", 0, FIRST_PAUSE_SECONDS
    with trio.move_on_after(health.deadline):
        while passes < health.passes:
            await trio.sleep(min(pause_seconds, health.interval))
            pause_seconds *= PAUSE_GROWTH
            problem = await prober.probe(address, health)
            passes = 0 if problem else passes + 1
            seen = problem or f"{passes} healthy in a row, {health.passes} wanted"
            if on_check is not None:
                on_check(seen)
        return
    raise DeployFailed(f"not healthy within {health.deadline:g} s; last seen: {seen}")


def _request(address: Address, health: Health, answer: _Answer) -> httpx.Request:
    headers = httpx.Headers(
        {
            "Host": health.host,
            "User-Agent": "rainbowd",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
    )
    headers.update(health.headers)
    # The path goes as it is written, but for what no request line can hold (RFC 9112 §3.2).
    target = quote(health.path, safe=string.punctuation).encode()
    origin = "localhost" if isinstance(address, UnixAddress) else str(address)
    return httpx.Request(
        "GET",
        f"http://{origin}/",
        headers=headers,
        extensions={"target": target, "trace": answer.trace},
    )


def _root_cause(error: BaseException) -> str:
    """What the system said: the end of a chain of exceptions, some of them in groups."""
    group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    inner = group[0] if group else error.__cause__ or error.__context__
    if inner is not None:
        return _root_cause(inner)
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
