"""Structlog, which takes a sixth of a start to import: so the agent serves first, and loads it then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from rainbowd.log.format import format_entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from structlog.typing import EventDict

    from rainbowd.log.logger import Stdout


def speaker(stdout: Stdout) -> Callable[[str, dict[str, Any]], None]:
    """What says a line of a level on ``stdout``: its fields, with ``event`` and ``at``, the time, among them."""
    logger = structlog.wrap_logger(
        stdout,
        processors=[structlog.processors.format_exc_info, _render],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    ).bind()
    return lambda level, fields: getattr(logger, level)(**fields)


def _render(stdout: Stdout, level: str, fields: EventDict) -> bytes:
    """The last of structlog's processors: an entry as bytes."""
    event, at = str(fields.pop("event", "")), fields.pop("at")
    try:
        return format_entry(stdout.form, level, event, fields, at)
    except Exception as bug:  # noqa: BLE001 - what str() and repr() of any object may raise
        return format_entry(stdout.form, level, event, {"unsayable": ", ".join(fields), "why": type(bug).__name__}, at)
