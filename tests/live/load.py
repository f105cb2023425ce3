"""A steady load of many clients, and what each request got."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.agent import Agent

THREADS = 5
CLIENTS = 200


@dataclass(frozen=True)
class Got:
    """One answer.

    Attributes:
        at: when it was complete, in seconds since the epoch.
        client: its address.
        status: 0 if there was no answer.
        release: which release has answered; None if it was rainbowd itself.
    """

    at: float
    client: str
    status: int
    release: str | None


@dataclass
class Load:
    """Requests at a steady rate, until ``stop``.

    Attributes:
        got: the answers so far.
    """

    agent: Agent
    per_second: float
    got: list[Got] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Send requests while the context lasts."""
        threads = [threading.Thread(target=self._send, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(30)

    def lost(self) -> list[Got]:
        """Return the requests that had no answer, or one of rainbowd itself."""
        return [one for one in self.got if one.status == 0 or one.release is None]

    def failed(self, since: float = 0.0) -> list[Got]:
        """Return the requests that a release answered with an error."""
        return [one for one in self.got if one.status >= 500 and one.release is not None and one.at >= since]

    def _send(self, number: int) -> None:
        interval = THREADS / self.per_second
        begin, count, connection = time.monotonic(), 0, None
        while not self._stop.is_set():
            time.sleep(max(0.0, begin + count * interval - time.monotonic()))
            client = f"198.51.100.{(count * THREADS + number) % CLIENTS}"
            count += 1
            connection = connection or http.client.HTTPConnection(self.agent.host, self.agent.port, timeout=30)
            try:
                connection.request("GET", "/", headers={"X-Forwarded-For": client})
                answer = connection.getresponse()
                answer.read()
                self.got.append(Got(time.time(), client, answer.status, answer.headers.get("X-Release")))
            except (OSError, http.client.HTTPException):
                self.got.append(Got(time.time(), client, 0, None))
                connection.close()
                connection = None
        if connection is not None:
            connection.close()
