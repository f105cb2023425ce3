"""Assertions that fail in a task of the agent: it logs them as its bugs and goes on, so a test must look for them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from rainbowd.log.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def no_bugs() -> Iterator[None]:
    """Raise the first exception that was logged as a bug meanwhile, at the end."""
    found: list[BaseException] = []
    log_error = Logger.error

    def error(self: Logger, event: str, **fields: Any) -> None:
        if event.startswith("bug: "):
            found.append(fields.get("exc_info") or AssertionError(event))
        log_error(self, event, **fields)

    Logger.error = error  # type: ignore[method-assign]
    try:
        yield
    finally:
        Logger.error = log_error  # type: ignore[method-assign]
    if found:
        raise found[0]
