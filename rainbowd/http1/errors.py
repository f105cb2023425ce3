"""What is wrong with a message, by whose fault it is."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is answered here and not by the app.

    Args:
        status: the status code of the answer.
        text: one line that says what was wrong; it never echoes what was sent.
        cause: what the log says instead, when the client is not to read it; never echoes either.
        retry_after_seconds: for the ``Retry-After`` field, where trying again makes sense.
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
    """A client that speaks something other than HTTP/1, which is likely to be somebody's mistake."""


class BadResponse(Exception):
    """The app's answer cannot be read, or is not whole; its connection is of no further use.

    The message says why, with the answer as its subject: "it is not HTTP".
    """


NO_RESPONSE = "the connection was closed without one"
ENDED_EARLY = "it ended within its header"
