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
    """

    def __init__(self, port: int) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._over.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                if answer.status == http.HTTPStatus.OK:
                    self.answers += 1
                else:
                    self.failures.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            time.sleep(PAUSE_SECONDS)
        connection.close()
