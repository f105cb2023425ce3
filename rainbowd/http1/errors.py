"""The reasons to refuse a message, by whether the client or the app is at fault."""

from __future__ import annotations


class Refusal(Exception):
    """A response that rainbowd sends in place of the app.

    Args:
        status: the status code of the response.
        text: one line with the reason, for the client; must not contain any part of the request.
        cause: the reason for the log, if the client must not see it; must not contain any part of the request either.
        retry_after_seconds: for the ``Retry-After`` field, if a retry makes sense.
    """

    def __init__(
        self, status: int, text: str, *, cause: str | None = None, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(f"{status} {cause or text}")
        self.status = status
        self.text = text
        self.cause = cause or text
        self.retry_after_seconds = retry_after_seconds


class OtherProtocol(Refusal):
    """The refusal of a client that uses a protocol other than HTTP/1, probably by mistake."""


class BadResponse(Exception):
    """A response of the app that cannot be read or is incomplete; its connection must be closed.

    The message is the reason, with the response as its subject: "it is not HTTP".
    """


NO_RESPONSE = "the connection was closed without one"
ENDED_EARLY = "it ended within its header"
