"""A response on its way to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1 import BadResponse, ChunkedBody, EmptyBody, LengthBody, UntilCloseBody, frame

if TYPE_CHECKING:
    from rainbowd.http1 import Body, RequestHead, ResponseHead


class Download:
    """A final response, and as much of its body as was received.

    Attributes:
        is_delimited: the client can tell a response that was cut from a whole one.
        rest: what the app sent after its end, or what is to be taken next, after others had their turn.
        sent_bytes: of the body, as the app framed it.
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
        """The head for the client; ``keep_alive`` says whether another request may follow."""
        request, response = self._request, self._response
        mirrored = response.chunked and request.method == b"HEAD" and request.minor == 1
        kept = b"" if request.minor else b"keep-alive"  # HTTP/1.0 has to be told
        connection = kept if keep_alive else b"close"
        return response.serialise(chunked=self._chunked or mirrored, connection=connection)

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the app's connection; what is to be sent to the client.

        Raises:
            ValueError: its framing is broken.
        """
        payload, self.rest = self.body.feed(data)
        self.sent_bytes += len(payload)
        return frame(payload, self.body, chunked=self._chunked)

    def feed_eof(self) -> bytes:
        """The app's connection ended; what is to be sent to the client.

        Raises:
            ValueError: the body was not whole.
        """
        self.body.feed_eof()
        return frame(b"", self.body, chunked=self._chunked)

    @property
    def plain_bytes(self) -> int:
        """How many bytes from here on are passed on as they come; 0 where they have to be looked at."""
        return self.body.remaining_bytes if isinstance(self.body, LengthBody) else 0

    def skip(self, count: int) -> None:
        """So many of these went to the client without a visit here."""
        assert isinstance(self.body, LengthBody)
        self.sent_bytes += count
        self.body.skip(count)

    @property
    def leaves_upstream_clean(self) -> bool:
        """Whether the app's connection can serve another request: nothing of this response may be left on it."""
        response = self._response
        if not response.keep_alive or self.rest or isinstance(self.body, UntilCloseBody):
            return False
        if not isinstance(self.body, EmptyBody):
            return True
        # Some apps send the body that they declare behind a head that has none, or the one that GET would have had.
        declared = response.chunked or bool(response.length_bytes)
        unsized = self._request.method == b"HEAD" and response.length_bytes is None
        return not (declared or unsized)


def check_switch(request: RequestHead, response: ResponseHead) -> None:
    """See that the app switches protocols only to what was asked for.

    Raises:
        BadResponse: it does not.
    """
    if not (request.is_websocket and response.upgrade.lower() == b"websocket"):
        raise BadResponse("it switches protocols, which was not asked for")
