"""A response on its way to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1 import BadResponse, ChunkedBody, EmptyBody, LengthBody, UntilCloseBody, frame

if TYPE_CHECKING:
    from rainbowd.http1 import Body, RequestHead, ResponseHead


class Download:
    """A final response, and as much of its body as was received.

    Attributes:
        body: decodes the body.
        is_delimited: whether the client can tell a cut response from a complete one.
        rest: bytes of the app that follow the body, or that must be fed next, after other fibers have run.
        sent_bytes: of the body, without the framing.
    """

    __slots__ = ("_chunked", "_request", "_response", "body", "is_delimited", "rest", "sent_bytes")

    def __init__(self, request: RequestHead, response: ResponseHead) -> None:
        self._request = request
        self._response = response
        self.body: Body = response.body(request.method)
        unsized = isinstance(self.body, (ChunkedBody, UntilCloseBody))
        self._chunked = unsized and request.minor == 1
        self.is_delimited = self._chunked or not unsized
        self.rest = b""
        self.sent_bytes = 0

    def serialise_head(self, *, keep_alive: bool) -> bytes:
        """Return the head for the client.

        Args:
            keep_alive: whether another request may follow on the client's connection.
        """
        request, response = self._request, self._response
        mirrored = response.chunked and request.method == b"HEAD" and request.minor == 1
        kept = b"" if request.minor else b"keep-alive"  # the default of HTTP/1.0 is to close
        connection = kept if keep_alive else b"close"
        return response.serialise(chunked=self._chunked or mirrored, connection=connection)

    def feed(self, data: bytes) -> bytes:
        """Decode bytes of the app's connection, and return the bytes to send to the client.

        Raises:
            ValueError: the framing is broken.
        """
        payload, self.rest = self.body.feed(data)
        self.sent_bytes += len(payload)
        return frame(payload, self.body, chunked=self._chunked)

    def feed_eof(self) -> bytes:
        """Note the end of the app's connection, and return the bytes to send to the client.

        Raises:
            ValueError: the body is incomplete.
        """
        self.body.feed_eof()
        return frame(b"", self.body, chunked=self._chunked)

    @property
    def plain_bytes(self) -> int:
        """The number of bytes that can be relayed without decoding; 0 if they must be decoded."""
        return self.body.remaining_bytes if isinstance(self.body, LengthBody) else 0

    def skip(self, count: int) -> None:
        """Count ``count`` bytes that were moved to the client by a pipe."""
        assert isinstance(self.body, LengthBody)
        self.sent_bytes += count
        self.body.skip(count)

    @property
    def leaves_upstream_clean(self) -> bool:
        """Whether the app's connection can serve another request, because nothing of this response is left on it."""
        response = self._response
        if not response.keep_alive or self.rest or isinstance(self.body, UntilCloseBody):
            return False
        if not isinstance(self.body, EmptyBody):
            return True
        # Some apps send a body after a head that must have none: the declared one, or the one that GET would have had.
        declared = response.chunked or bool(response.length_bytes)
        unsized = self._request.method == b"HEAD" and response.length_bytes is None
        return not (declared or unsized)


def check_switch(request: RequestHead, response: ResponseHead) -> None:
    """Check that the app switches only to a protocol that the client requested.

    Raises:
        BadResponse: the client did not request it.
    """
    if not (request.is_websocket and response.upgrade.lower() == b"websocket"):
        raise BadResponse("it switches protocols, which was not asked for")
