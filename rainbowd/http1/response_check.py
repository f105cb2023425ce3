"""A check whether the proxy can relay a response of the app, with the proxy's own parser, for health checks.

A health check must use the same parser as the proxy. Otherwise a release can go live although every client gets a 502
from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1.errors import ENDED_EARLY, NO_RESPONSE, BadResponse
from rainbowd.http1.response import SWITCHING_PROTOCOLS, ResponseHead, read_response

if TYPE_CHECKING:
    from rainbowd.http1.body import Body


class ResponseCheck:
    """One response of the app, parsed as the proxy parses it.

    Args:
        method: of the request, which decides whether the response has a body.

    Attributes:
        head: the head of the final response, once it is complete.
        is_done: whether the complete response was read.
        payload: the part of the body in the bytes that were fed last.
        problem: why the proxy refuses the response, worded as in its log; None if it does not.
    """

    def __init__(self, method: bytes = b"GET") -> None:
        self.head: ResponseHead | None = None
        self.is_done = False
        self.payload = b""
        self.problem: str | None = None
        self._method = method
        self._buffer = b""
        self._searched_bytes = 0
        self._body: Body | None = None

    def feed(self, data: bytes) -> str | None:
        """Parse the next bytes of the app's connection, in pieces of any size.

        Returns:
            ``problem``, which does not change once it is set.
        """
        self.payload = b""
        if self.problem is None and not self.is_done:
            try:
                self._read(data)
            except (BadResponse, ValueError) as error:
                self.problem = str(error)
        return self.problem

    def feed_eof(self) -> str | None:
        """Note that the app closed its connection.

        Returns:
            ``problem``, which is set if the response is incomplete.
        """
        if self.problem is None and not self.is_done:
            try:
                self._check_end()
            except ValueError as error:
                self.problem = str(error)
        return self.problem

    def _read(self, data: bytes) -> None:
        self._buffer += data
        while self._body is None:
            found = read_response(self._buffer, self._searched_bytes) if self._buffer else None
            if found is None:
                self._searched_bytes = len(self._buffer)
                return
            head, end = found
            self._buffer, self._searched_bytes = self._buffer[end:], 0
            self._accept_head(head)
        while self._buffer and not self._body.is_done:
            payload, self._buffer = self._body.feed(self._buffer)
            self.payload += payload
        self.is_done = self._body.is_done

    def _accept_head(self, head: ResponseHead) -> None:
        if head.status == SWITCHING_PROTOCOLS:
            raise BadResponse("it switches protocols, which was not asked for")
        if not head.is_interim:
            self.head, self._body = head, head.body(self._method)

    def _check_end(self) -> None:
        if self._body is None:
            raise ValueError(ENDED_EARLY if self._buffer else NO_RESPONSE)
        self._body.feed_eof()
        self.is_done = True
