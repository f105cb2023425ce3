"""Whether a generation answers as it should: one request a probe, each on a connection of its own.

Only the status decides, and it does as soon as the head of the answer is there; what else the app says is for
the reader of a failure.  The answer is read as the proxy reads answers: what it could not pass on is none.
"""

from __future__ import annotations

import errno
import os
import string
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

import trio

from rainbowd.address import family, sockaddr
from rainbowd.deploy.sight import escaped
from rainbowd.errors import DeployFailed
from rainbowd.http1 import BadResponse, find_response_head, parse_response

if TYPE_CHECKING:
    from rainbowd.address import Address
    from rainbowd.config import Health
    from rainbowd.http1 import Body, ResponseHead

FIRST_PAUSE_SECONDS = 0.01
PAUSE_GROWTH = 1.2
"""A check is late by a fifth of the app's boot at the most."""
BODY_BYTES = 200
"""How much of an unhealthy answer's body is quoted."""


class Prober:
    """Asks over plain HTTP/1.1, directly, whatever proxy the environment names."""

    async def probe(self, address: Address, health: Health) -> str | None:
        """Ask once.

        Returns:
            None where the answer is a healthy one, else what was seen, in one sentence.
        """
        answer = _Answer()
        with trio.move_on_after(health.timeout), trio.socket.socket(family(address)) as sock:
            try:
                await sock.connect(sockaddr(address))
            except OSError as error:
                return f"{address}: {_in_words(error)}"
            if _is_its_own_peer(sock):
                return f"{address}: {os.strerror(errno.ECONNREFUSED)}"
            try:
                await answer.read(trio.SocketStream(sock), health)
            except (BadResponse, trio.BrokenResourceError) as error:
                if answer.status is None:
                    return f"{address} did not answer in HTTP: {_in_words(error.__cause__ or error)}"
        return answer.judged(address, health)


@dataclass
class _Answer:
    """What has come of an answer, also where time ran out."""

    status: int | None = None
    reason: str = ""
    location: str | None = None
    body: bytes = b""

    async def read(self, stream: trio.SocketStream, health: Health) -> None:
        """Ask, and read as far as is needed to judge it.

        Raises:
            BadResponse: it is none that the proxy could pass on.
            trio.BrokenResourceError: the connection broke.
        """
        await stream.send_all(_request(health))
        buffer = b""
        while self.status is None:
            end = find_response_head(buffer, 0)
            if end < 0:
                buffer += await _receive(stream)
                continue
            head, buffer = parse_response(buffer[:end]), buffer[end:]
            if not head.interim:
                self._take(head)
        if not health.status.matches(self.status):
            await self._read_body(stream, head.body(b"GET"), buffer)

    def _take(self, head: ResponseHead) -> None:
        locations = (value for name, value in head.fields if name.lower() == b"location")
        location = next(locations, None)
        self.location = None if location is None else location.decode("latin-1")
        self.reason = escaped(head.reason.decode("latin-1"))
        self.status = head.status

    async def _read_body(self, stream: trio.SocketStream, body: Body, buffer: bytes) -> None:
        """Read what is quoted of it; where it breaks off, so does the quotation."""
        with suppress(BadResponse, trio.BrokenResourceError, ValueError):
            while True:
                self.body += body.feed(buffer)[0]
                if body.done or len(self.body) >= BODY_BYTES:
                    return
                buffer = await _receive(stream)

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
        hint = self._hint(health)
        return seen if hint is None else f"{seen} ({hint})"

    def _hint(self, health: Health) -> str | None:
        """Which line of the config would help, where the status says enough to guess."""
        if self.status == HTTPStatus.BAD_REQUEST:
            return f"it was asked as host {health.host!r}; where it wants another, set health.host"
        if self.location is not None and self.location.startswith("https:"):
            return 'where it forces HTTPS, set health.headers to {"X-Forwarded-Proto": "https"}'
        if self.location is not None:
            return "redirects are not followed; set health.path to a page that needs none"
        if self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return f'set health.path to a page for all, or health.status to "200-299,{self.status:d}"'
        if self.status == HTTPStatus.NOT_FOUND:
            return f"there is no page {health.path!r}; set health.path"
        return None


async def until_healthy(prober: Prober, address: Address, health: Health) -> None:
    """Probe, often at first and then less so, until enough answers in a row were healthy.

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
        return
    raise DeployFailed(f"not healthy within {health.deadline:g} s; last seen: {seen}")


async def _receive(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some())
    if not data:
        raise BadResponse("it closed the connection")
    return data


def _is_its_own_peer(sock: trio.socket.SocketType) -> bool:
    """Whether it is connected to itself, as one to a closed port of the ephemeral range may be: nobody listens there.

    RFC 9293 section 3.5, simultaneous open.
    """
    with suppress(OSError):  # reset already: then it had a peer
        return isinstance(sock.getpeername(), tuple) and sock.getsockname() == sock.getpeername()
    return False


def _request(health: Health) -> bytes:
    fields = {
        "host": ("Host", health.host),
        "user-agent": ("User-Agent", "rainbowd"),
        "accept": ("Accept", "*/*"),
        "accept-encoding": ("Accept-Encoding", "identity"),
        "connection": ("Connection", "close"),
    }
    fields |= {name.lower(): (name, value) for name, value in health.headers.items()}
    # The path goes as it is written, but for what no request line can hold (RFC 9112 §3.2).
    lines = [f"GET {quote(health.path, safe=string.punctuation)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.values()]
    return "\r\n".join([*lines, "", ""]).encode()


def _in_words(error: BaseException) -> str:
    """What the system said, or we."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
