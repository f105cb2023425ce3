"""The connection to structlog, whose import takes a sixth of a start, so it follows once the agent serves requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from rainbowd.log.format import format_entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from structlog.typing import EventDict

    from rainbowd.log.stdout import Stdout


def make_emitter(stdout: Stdout) -> Callable[[str, dict[str, Any]], None]:
    """Return a function that logs one entry to ``stdout`` through structlog.

    Its arguments are the level's name, and the fields with ``event`` and ``at`` (the time) among them.
    """
    logger = structlog.wrap_logger(
        stdout,
        processors=[structlog.processors.format_exc_info, _render],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    ).bind()
    return lambda level, fields: getattr(logger, level)(**fields)


def _render(stdout: Stdout, level: str, fields: EventDict) -> bytes:
    """Format an entry as bytes; this is the last processor of structlog's chain."""
    event, at = str(fields.pop("event", "")), fields.pop("at")
    try:
        return format_entry(stdout.form, level, event, fields, at)
    except Exception as bug:  # noqa: BLE001 - what str() and repr() of any object may raise
        unprintable = {"unprintable": ", ".join(fields), "error": type(bug).__name__}
        return format_entry(stdout.form, level, event, unprintable, at)
