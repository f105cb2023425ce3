"""The pages that browsers get in place of rainbowd's own short texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rainbowd.proxy.admission import UnderMaintenance
from rainbowd.proxy.client_identity import field_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.http1 import Refusal, RequestHead

_ACCEPTS_HTML = re.compile(rb"(?:^|,)\s*text/html\s*(?:;(?!\s*q=0(?:\.0*)?\s*(?:,|$))|,|$)", re.IGNORECASE)
"""A media range of ``Accept``: RFC 9110 section 12.5.1. ``q=0`` excludes it."""


class ErrorPages:
    """The pages by their status.

    Attributes:
        pages: complete bodies in HTML; replaced as a whole when the files change.
    """

    def __init__(self) -> None:
        self.pages: Mapping[int, bytes] = {}

    def find(self, refusal: Refusal, request: RequestHead | None) -> bytes | None:
        """Return the body of the answer to ``request``; None for the short text.

        Args:
            refusal: the reason of the answer.
            request: None if its head could not be read.
        """
        if isinstance(refusal, UnderMaintenance):
            return refusal.content
        page = self.pages.get(refusal.status)
        if page is None or request is None or not _ACCEPTS_HTML.search(field_value(request, b"accept")):
            return None
        return page
