"""The agent's own log: levels, and the queue of entries that wait until structlog is loaded.

The access log does not go through structlog, which would cost more than the rest of a log line together.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from rainbowd.log import writer
from rainbowd.log.format import format_entry, now
from rainbowd.log.stdout import LEVELS, stdout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Emit = Callable[[str, dict[str, Any]], None]

EARLY_MAX = 1000
"""How many entries wait for structlog; the next one loads it."""


class Logger:
    """A structured logger; entries logged before ``load`` are kept, with their time, and written then."""

    def __init__(self) -> None:
        self._early: list[Callable[[_Emit], None]] = []
        self._emit: _Emit | None = None
        self._order = threading.RLock()  # a destructor may log too

    def debug(self, event: str, **fields: Any) -> None:
        """Log ``event`` with its fields at level debug; ``exc_info`` is the field for an exception's traceback."""
        self._log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log at level info: see ``debug``."""
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log at level warning: see ``debug``."""
        self._log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log at level error: see ``debug``."""
        self._log("error", event, fields)

    def load(self) -> None:
        """Load structlog, and write the entries that wait; it takes 0.1 s once, so call it in a thread.

        Raises:
            Exception: structlog cannot be imported; entries are then logged without it.
        """
        try:
            from rainbowd.log.structured import make_emitter  # noqa: PLC0415 - see there
        except BaseException:
            self._begin(_emit_without_structlog)
            raise
        self._begin(make_emitter(stdout))

    def flush(self) -> None:
        """Write the entries that wait for structlog, which is loaded if it must be."""
        if self._early:
            with contextlib.suppress(Exception):
                self.load()

    def put(self, line: bytes) -> None:
        """Write a formatted line, after all entries that were logged before.

        Args:
            line: with its newline.
        """
        if self._emit is None:
            with self._order:
                if self._early:
                    self._early.append(lambda _emit: stdout.writer.put(line))
                    self._bound()
                    return
        stdout.writer.put(line)

    def _begin(self, emit: _Emit) -> None:
        with self._order:
            while self._early:
                early, self._early = self._early, []
                for write in early:
                    write(emit)
            self._emit = self._emit or emit

    def _bound(self) -> None:
        if len(self._early) > EARLY_MAX:
            self.flush()

    def _log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS[level] < stdout.level:
            return
        entry = {"at": now(), "event": event, **fields}
        with self._order:
            if self._emit is not None:
                self._emit(level, entry)
                return
            self._early.append(lambda emit: emit(level, entry))
        self._bound()


def _emit_without_structlog(level: str, fields: dict[str, Any]) -> None:
    """Write an entry without structlog; an exception in ``exc_info`` has no traceback then."""
    stdout.info(format_entry(stdout.form, level, fields.pop("event"), fields, fields.pop("at")))


def configure(level: str, format: str) -> None:  # noqa: A002 - the config's own word
    """Set which entries are logged from now on, and how they are formatted.

    Args:
        level: the lowest level to log: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``json``: one object a line; ``auto``: colours on a terminal, plain lines elsewhere.
    """
    stdout.configure(level, format)


def get_logger() -> Logger:
    """Return the only logger; it follows every later ``configure``."""
    return _logger


def load() -> None:
    """Load structlog, and write the entries that wait: see ``Logger.load``."""
    _logger.load()


def flush(timeout_seconds: float) -> bool:
    """Wait until all earlier lines are written or dropped; return whether they were in time."""
    _logger.flush()
    return writer.flush(timeout_seconds)


def request(fields: Mapping[str, Any]) -> None:
    """Log an answered request at level info, without structlog.

    Args:
        fields: of the access log.
    """
    if stdout.level <= LEVELS["info"]:
        _logger.put(format_entry(stdout.form, "info", "request", fields))


_logger = Logger()
configure("info", "auto")
