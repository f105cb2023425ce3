"""The id and start time of a request, and the date of a response."""

from __future__ import annotations

import functools
import random
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rainbowd.http1 import RequestHead, ResponseHead

_ids = random.Random(random.SystemRandom().getrandbits(128))  # noqa: S311 - ids identify requests and protect nothing


def add_request_id(request: RequestHead) -> None:
    """Add an id and a start time to ``request``, unless a trusted peer sent them."""
    if not request.request_id:
        request.request_id = _uuid()
    if not request.request_start:
        request.request_start = b"t=%.3f" % time.time()


def add_date(response: ResponseHead) -> None:
    """Add the current ``Date`` to ``response``, unless the app sent one: RFC 9110 section 6.6.1."""
    if not response.has_date:
        response.lines.append(b"Date: %b" % _date_at(int(time.time())))


@functools.lru_cache(1)
def _date_at(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


def _uuid() -> bytes:
    """Return a random UUID, version 4: RFC 9562 section 5.4."""
    digits = b"%032x" % _ids.getrandbits(128)
    return b"%b-%b-4%b-a%b-%b" % (digits[:8], digits[8:12], digits[13:16], digits[17:20], digits[20:])
