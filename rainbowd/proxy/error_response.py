"""The responses that rainbowd writes in place of the app: a short text, or a page of the user's."""

from __future__ import annotations

import codecs
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rainbowd.http1 import Refusal

CLIENT_GONE = 499
"""The status that is logged if the client closed its connection before the response; never sent."""


def error_response(refusal: Refusal, *, keep_alive: bool, with_body: bool = True, page: bytes | None = None) -> bytes:
    """Return a complete response for ``refusal``.

    Args:
        refusal: has the status, the text, and the seconds for ``Retry-After``.
        keep_alive: whether another request may follow on the connection.
        with_body: False for a response to HEAD.
        page: the body; None for a line of text.
    """
    phrase = HTTPStatus(refusal.status).phrase
    body = f"{refusal.status} {phrase}: {refusal.text}\n".encode() if page is None else page
    kind = "text/html" if body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<") else "text/plain"
    lines = [
        f"HTTP/1.1 {refusal.status} {phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
    ]
    if refusal.retry_after_seconds is not None:
        lines.append(f"Retry-After: {refusal.retry_after_seconds}")
    lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + body if with_body else head
