"""A client that sends one request after another to an agent, and keeps every failure."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Self

PAUSE_SECONDS = 0.02


class Load:
    """Requests until the end of the context.

    Args:
        port: of the agent.

    Attributes:
        answers: how many were good.
        failures: what went wrong, each in words.
        excused: how many requests were lost while nothing could answer them.
    """

    def __init__(self, port: int) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self.excused = 0
        self._port = port
        self._is_down = False
        self._falls = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def fall(self) -> None:
        """Excuse the requests in flight and all later ones, because the agent is killed now."""
        self._is_down = True
        self._falls += 1

    def rise(self) -> None:
        """Excuse no request that begins from now on, because the agent listens again."""
        self._is_down = False

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._over.is_set():
            falls, was_down = self._falls, self._is_down
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                if answer.status == http.HTTPStatus.OK:
                    self.answers += 1
                else:
                    self.failures.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                if was_down or falls != self._falls:
                    self.excused += 1
                else:
                    self.failures.append(repr(error))
                connection.close()
            time.sleep(PAUSE_SECONDS)
        connection.close()
