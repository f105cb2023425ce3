"""The agent's own lines: what is said at which level, through structlog, and a request's past it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from rainbowd.log import writer
from rainbowd.log.format import Form, format_entry, now
from rainbowd.log.writer import Writer, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Speak = Callable[[str, dict[str, Any]], None]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

EARLY_MAX = 1000
"""So many lines wait for structlog, and the next one has it loaded."""

_STDOUT = 1 if sys.__stdout__ is not None else -1
"""Started with stdout closed, the number 1 may by now be anything, such as a client's connection."""


class Logger:
    """Says what happened; what is said before ``load`` waits for that, with its time."""

    def __init__(self) -> None:
        self._early: list[Callable[[_Speak], None]] = []
        self._speak: _Speak | None = None
        self._order = threading.RLock()  # a destructor may log too

    def debug(self, event: str, **fields: Any) -> None:
        """Say ``event`` with ``fields``, at this level; an exception is the field ``exc_info``."""
        self._say("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """See ``debug``."""
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """See ``debug``."""
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """See ``debug``."""
        self._say("error", event, fields)

    def load(self) -> None:
        """Load structlog, and say what waits; takes 0.1 s, once, so call it in a thread.

        Raises:
            Exception: structlog is not as it was installed. From now on lines are said without it.
        """
        try:
            from rainbowd.log.structured import speaker  # noqa: PLC0415 - see there
        except BaseException:
            self._begin(_say_as_it_is)
            raise
        self._begin(speaker(stdout))

    def flush(self) -> None:
        """Have nothing wait."""
        if self._early:
            with contextlib.suppress(Exception):
                self.load()

    def put(self, line: bytes) -> None:
        """Write ``line``, which has its form already, after all lines that were said before."""
        if self._speak is None:
            with self._order:
                if self._early:
                    self._early.append(lambda _speak: stdout.writer.put(line))
                    self._bound()
                    return
        stdout.writer.put(line)

    def _begin(self, speak: _Speak) -> None:
        with self._order:
            while self._early:
                early, self._early = self._early, []
                for say in early:
                    say(speak)
            self._speak = self._speak or speak

    def _bound(self) -> None:
        if len(self._early) > EARLY_MAX:
            self.flush()

    def _say(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS[level] < stdout.level:
            return
        said = {"at": now(), "event": event, **fields}
        with self._order:
            if self._speak is not None:
                self._speak(level, said)
                return
            self._early.append(lambda speak: speak(level, said))
        self._bound()


def _say_as_it_is(level: str, fields: dict[str, Any]) -> None:
    """Where structlog cannot be loaded: a line is worth more than its form."""
    stdout.info(format_entry(stdout.form, level, fields.pop("event"), fields, fields.pop("at")))


def configure(level: str, format: str) -> None:  # noqa: A002 - the config's own word
    """Say from now on what is of ``level`` or above, on stdout.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``json``: one object a line; ``auto``: colours on a terminal, plain lines elsewhere.
    """
    stdout.level = LEVELS[level]
    stdout.form = "json" if format == "json" else "colour" if _is_terminal(_STDOUT) else "plain"


def get_logger() -> Logger:
    """The logger; one got before ``configure`` follows what that says."""
    return _logger


def load() -> None:
    """Have lines said that waited until now: see ``Logger``."""
    _logger.load()


def flush(timeout_seconds: float) -> bool:
    """Wait until everything said before is written or dropped; False if that was not so in time."""
    _logger.flush()
    return writer.flush(timeout_seconds)


def request(fields: Mapping[str, Any]) -> None:
    """Say that a request was answered, at level info: past structlog, which costs more than all the rest of it."""
    if stdout.level <= LEVELS["info"]:
        _logger.put(format_entry(stdout.form, "info", "request", fields))


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
        return format_entry(self.form, "warning", "lines of this log were lost", {"lines": lost})


def _is_terminal(fd: int) -> bool:
    return fd >= 0 and os.isatty(fd)


stdout = Stdout()
"""The one there is."""
_logger = Logger()
configure("info", "auto")
