"""A request's body on its way to the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1 import NO_BODY, LengthBody, Refusal, frame

if TYPE_CHECKING:
    from rainbowd.http1 import Body


class Upload:
    """The body of one request, as much of it as was taken.

    Args:
        body: as it comes from the client.
        limit_bytes: the most it may have; None for no limit.
        chunked: it goes to the app in chunks.

    Attributes:
        is_done: all of it was taken, and went to the app.
    """

    __slots__ = ("_limit_bytes", "_taken_bytes", "body", "chunked", "is_done")

    def __init__(self, body: Body, limit_bytes: int | None, *, chunked: bool) -> None:
        self.body = body
        self.is_done = body.is_done
        self.chunked = chunked
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0

    @property
    def has_begun(self) -> bool:
        """Some of it was taken."""
        return self._taken_bytes > 0

    @property
    def is_empty(self) -> bool:
        """Nothing but the head went to the app, and nothing else will."""
        return self.is_done and not self.chunked and not self._taken_bytes

    @property
    def plain_bytes(self) -> int:
        """How many bytes from here on are passed on as they come; 0 where they have to be looked at."""
        return self.body.remaining_bytes if isinstance(self.body, LengthBody) else 0

    def check_length(self, length_bytes: int) -> None:
        """See that a body of ``length_bytes`` is not too long.

        Raises:
            Refusal: it is.
        """
        if self._limit_bytes is not None and length_bytes > self._limit_bytes:
            raise Refusal(413, "The body is larger than is allowed here.")

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes of the client's connection.

        Returns:
            What is to be sent to the app, and the rest: what follows the body, or what is to be taken next, after
            others had their turn.

        Raises:
            Refusal: its framing is broken, or it is too long.
        """
        try:
            payload, rest = self.body.feed(data)
        except ValueError as error:
            raise Refusal(400, f"The body cannot be read: {error}.") from None
        self._taken_bytes += len(payload)
        self.check_length(self._taken_bytes)
        return frame(payload, self.body, chunked=self.chunked), rest

    def mark_sent(self) -> None:
        """What was taken went to the app, or the app wants no more."""
        self.is_done = self.body.is_done

    def skip(self, count: int) -> None:
        """So many bytes of a sized body went to the app without a visit here."""
        assert isinstance(self.body, LengthBody)
        self._taken_bytes += count
        self.body.skip(count)
        self.is_done = self.body.is_done


NO_UPLOAD = Upload(NO_BODY, None, chunked=False)
"""That of every request without a body."""
