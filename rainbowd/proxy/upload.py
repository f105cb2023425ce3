"""A request's body on its way to the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1 import NO_BODY, LengthBody, Refusal, frame

if TYPE_CHECKING:
    from rainbowd.http1 import Body


class Upload:
    """The body of one request, and how much of it was relayed.

    Args:
        body: decodes the body that the client sends.
        limit_bytes: the largest size allowed; None for no limit.
        chunked: whether the app receives the body in chunks.

    Attributes:
        is_done: whether the complete body was sent to the app.
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
        """Whether a part of the body has been received."""
        return self._taken_bytes > 0

    @property
    def is_empty(self) -> bool:
        """Whether the app received only a head, and will receive nothing else."""
        return self.is_done and not self.chunked and not self._taken_bytes

    @property
    def plain_bytes(self) -> int:
        """The number of bytes that can be relayed without decoding; 0 if they must be decoded."""
        return self.body.remaining_bytes if isinstance(self.body, LengthBody) else 0

    def check_length(self, length_bytes: int) -> None:
        """Check that a body of ``length_bytes`` is within the limit.

        Raises:
            Refusal: the body is larger.
        """
        if self._limit_bytes is not None and length_bytes > self._limit_bytes:
            raise Refusal(413, "The body is larger than the limit.")

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode bytes of the client's connection.

        Returns:
            The bytes to send to the app, and the rest: bytes that follow the body, or that must be fed next, after
            other fibers have run.

        Raises:
            Refusal: the framing is broken, or the body is larger than the limit.
        """
        try:
            payload, rest = self.body.feed(data)
        except ValueError as error:
            raise Refusal(400, f"The body cannot be read: {error}.") from None
        self._taken_bytes += len(payload)
        self.check_length(self._taken_bytes)
        return frame(payload, self.body, chunked=self.chunked), rest

    def mark_sent(self) -> None:
        """Note that all decoded bytes were sent to the app, or that the app reads no more."""
        self.is_done = self.body.is_done

    def skip(self, count: int) -> None:
        """Count ``count`` bytes that were moved to the app by a pipe."""
        assert isinstance(self.body, LengthBody)
        self._taken_bytes += count
        self.body.skip(count)
        self.is_done = self.body.is_done


NO_UPLOAD = Upload(NO_BODY, None, chunked=False)
"""The upload of every request without a body."""
