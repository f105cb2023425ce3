"""What the agent itself says, on stdout."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from rainbowd.log.entry import Form, entry
from rainbowd.log.writing import Writer, write

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_STDOUT = 1 if sys.__stdout__ is not None else -1
"""Started with stdout closed, the number 1 may by now be anything, such as a client's connection."""


class Stdout:
    """Where it goes, and as what.

    Attributes:
        form: of an entry.
        level: what is below it is not said.
        writer: takes the lines.
    """

    def __init__(self) -> None:
        self.form: Form = "plain"
        self.level = LEVELS["info"]
        self.writer = Writer(lambda data: write(_STDOUT, data)[0], self._tell_lost)

    def _tell_lost(self, lost: int) -> bytes:
        return entry(self.form, "warning", "lines of this log were lost", {"lines": lost})


class Logger:
    """Says what happens: an event, and fields that tell of it."""

    def debug(self, event: str, **fields: object) -> None:
        """Say what only a developer wants to know."""
        _say("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Say what is as it should be."""
        _say("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say what somebody should look at."""
        _say("warning", event, fields)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: object) -> None:
        """Say what went wrong.

        Args:
            event: what happened.
            exc_info: the exception whose trace is wanted.
            fields: what is told of it.
        """
        if exc_info is not None:
            fields["exception"] = "".join(traceback.format_exception(exc_info)).rstrip("\n")
        _say("error", event, fields)


def configure(level: str, format: str) -> None:  # noqa: A002 - the config's own word
    """Say from now on what is of ``level`` or above.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``json``: one object a line; ``auto``: colours on a terminal, plain lines elsewhere.
    """
    stdout.level = LEVELS[level]
    stdout.form = "json" if format == "json" else "colour" if _is_terminal(_STDOUT) else "plain"


def get_logger() -> Logger:
    """A logger; one got before ``configure`` follows what that says."""
    return _logger


def request(fields: Mapping[str, Any]) -> None:
    """Say that a request was answered, at level info."""
    if stdout.level <= LEVELS["info"]:
        stdout.writer.put(entry(stdout.form, "info", "request", fields))


def _say(level: str, event: str, fields: Mapping[str, Any]) -> None:
    if LEVELS[level] < stdout.level:
        return
    try:
        line = entry(stdout.form, level, event, fields)
    except Exception as bug:  # noqa: BLE001 - what str() and repr() of any object may raise
        line = entry(stdout.form, level, event, {"unsayable": ", ".join(fields), "why": type(bug).__name__})
    stdout.writer.put(line)


def _is_terminal(fd: int) -> bool:
    return fd >= 0 and os.isatty(fd)


stdout = Stdout()
_logger = Logger()
configure("info", "auto")
