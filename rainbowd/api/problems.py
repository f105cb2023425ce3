"""Error responses of the API, as problem details: RFC 9457."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, extra: Mapping[str, object] | None = None
) -> Response:
    """Return a response with problem details.

    Args:
        status: of HTTP; its phrase is the title.
        detail: what is wrong, for people.
        headers: in addition to those of every response.
        extra: members in addition to those of every problem.
    """
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(encode({**body, **(extra or {})}), status, headers=headers, media_type=MEDIA_TYPE)


def encode(value: object) -> bytes:
    """Return a value as one line of JSON; a value that JSON has no type for, such as a path, becomes a string."""
    return json.dumps(value, default=str).encode() + b"\n"
