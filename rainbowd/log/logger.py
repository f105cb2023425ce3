"""The agent's own log: its levels and its entries, also those of answered requests."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from rainbowd.log.format import format_entry
from rainbowd.log.stdout import LEVELS, stdout

if TYPE_CHECKING:
    from collections.abc import Mapping


class Logger:
    """A structured logger: an entry is an event and its fields."""

    def debug(self, event: str, **fields: Any) -> None:
        """Log ``event`` with its fields at level debug; ``exc_info`` is an exception to log with its traceback."""
        _log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log at level info: see ``debug``."""
        _log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log at level warning: see ``debug``."""
        _log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log at level error: see ``debug``."""
        _log("error", event, fields)


def configure(level: str, format: str) -> None:  # noqa: A002 - the config's own word
    """Set which entries are logged from now on, and how they are formatted.

    Args:
        level: the lowest level to log: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``json``: one object a line; ``auto``: colours on a terminal, plain lines elsewhere.
    """
    stdout.configure(level, format)


def share(lock_file: str) -> None:
    """Let other processes write to the same stdout: see ``Stdout.share``."""
    stdout.share(lock_file)


def get_logger() -> Logger:
    """Return the only logger; it follows every later ``configure``."""
    return _logger


def request(fields: Mapping[str, Any]) -> None:
    """Log an answered request at level info.

    Args:
        fields: of the access log; all of them can be printed.
    """
    if stdout.level <= LEVELS["info"]:
        stdout.writer.put(format_entry(stdout.form, "info", "request", fields))


def _log(level: str, event: str, fields: dict[str, Any]) -> None:
    if LEVELS[level] < stdout.level:
        return
    bug = fields.pop("exc_info", None)
    if bug is not None:
        fields["exception"] = "".join(traceback.format_exception(bug)).rstrip("\n")
    try:
        entry = format_entry(stdout.form, level, event, fields)
    except Exception as error:  # noqa: BLE001 - what str() and repr() of any object may raise
        unprintable = {"unprintable": ", ".join(fields), "error": type(error).__name__}
        entry = format_entry(stdout.form, level, event, unprintable)
    stdout.writer.put(entry)


_logger = Logger()
configure("info", "auto")
