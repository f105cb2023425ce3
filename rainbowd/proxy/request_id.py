"""The id and start time of a request, and the date of a response."""

from __future__ import annotations

import functools
import itertools
import time
import uuid
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rainbowd.http1 import RequestHead, ResponseHead

_PREFIX = str(uuid.uuid4())[:24].encode()
"""The part of every id that tells this process from others; with the number, an id still has the form of a UUID."""

_numbers = itertools.count(1)


def add_request_id(request: RequestHead) -> None:
    """Add an id and a start time to ``request``, unless a trusted peer sent them."""
    if not request.request_id:
        request.request_id = b"%b%012d" % (_PREFIX, next(_numbers))
    if not request.request_start:
        request.request_start = b"t=%.3f" % time.time()


def add_date(response: ResponseHead) -> None:
    """Add the current ``Date`` to ``response``, unless the app sent one: RFC 9110 section 6.6.1."""
    if not response.has_date:
        response.lines.append(b"Date: %b" % _date_at(int(time.time())))


@functools.lru_cache(1)
def _date_at(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()
