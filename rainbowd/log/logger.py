"""The agent's own lines: what is said at which level, through structlog, and a request's past it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import structlog

from rainbowd.log.entry import Form, entry
from rainbowd.log.writing import Writer, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, FilteringBoundLogger

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_STDOUT = 1 if sys.__stdout__ is not None else -1
"""Started with stdout closed, the number 1 may by now be anything, such as a client's connection."""


def configure(level: str, format: str) -> None:  # noqa: A002 - the config's own word
    """Say from now on what is of ``level`` or above, on stdout.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``json``: one object a line; ``auto``: colours on a terminal, plain lines elsewhere.
    """
    stdout.level = LEVELS[level]
    stdout.form = "json" if format == "json" else "colour" if _is_terminal(_STDOUT) else "plain"
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: stdout,
        cache_logger_on_first_use=False,
    )


def get_logger() -> FilteringBoundLogger:
    """A logger; one got before ``configure`` follows what that says."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def request(fields: Mapping[str, Any]) -> None:
    """Say that a request was answered, at level info: past structlog, which costs more than all the rest of it."""
    if stdout.level <= LEVELS["info"]:
        stdout.writer.put(entry(stdout.form, "info", "request", fields))


class Stdout:
    """What structlog hands its lines to.

    Attributes:
        form: how an entry looks.
        level: what is below is not said.
        writer: takes the lines.
    """

    def __init__(self) -> None:
        self.form: Form = "plain"
        self.level = LEVELS["info"]
        self.writer = Writer(lambda data: write(_STDOUT, data)[0], self._tell_lost)

    def info(self, line: bytes) -> None:
        """Take a line, whatever its level."""
        self.writer.put(line)

    debug = warning = error = critical = info

    def _tell_lost(self, lost: int) -> bytes:
        return entry(self.form, "warning", "lines of this log were lost", {"lines": lost})


def _render(_logger: Stdout, level: str, fields: EventDict) -> bytes:
    """The last of structlog's processors: an entry as bytes."""
    event = str(fields.pop("event", ""))
    try:
        return entry(stdout.form, level, event, fields)
    except Exception as bug:  # noqa: BLE001 - what str() and repr() of any object may raise
        return entry(stdout.form, level, event, {"unsayable": ", ".join(fields), "why": type(bug).__name__})


def _is_terminal(fd: int) -> bool:
    return fd >= 0 and os.isatty(fd)


stdout = Stdout()
"""The one there is."""
configure("info", "auto")
