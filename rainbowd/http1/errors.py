"""What is wrong with a message, by whose fault it is."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of ours
    """A request that is answered here and not by the app.

    Args:
        status: the status code of the answer.
        text: one line that says what was wrong; it never echoes what was sent.
        retry_after_seconds: for the ``Retry-After`` field, where trying again makes sense.
    """

    def __init__(self, status: int, text: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text
        self.retry_after_seconds = retry_after_seconds


class BadResponse(Exception):  # noqa: N818 - mirrors Refusal
    """The app's answer cannot be read, or is not whole; its connection is of no further use."""
