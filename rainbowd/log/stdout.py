"""The agent's standard output: the format and the level of the log, and the queue of its lines."""

from __future__ import annotations

import fcntl
import os
import sys

from rainbowd.log.format import Form, format_entry
from rainbowd.log.writer import Writer, write

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_FD = 1 if sys.__stdout__ is not None else -1
"""-1 if the agent was started with stdout closed: descriptor 1 may then be anything, such as a client's connection."""


class Stdout:
    """The log lines' way to standard output.

    Attributes:
        form: how an entry is formatted.
        level: the number of the lowest level that is logged.
        writer: the queue of lines.
    """

    def __init__(self) -> None:
        self.form: Form = "plain"
        self.level = LEVELS["info"]
        self.writer = Writer(self._write, self._format_lost)
        self._lock_fd = -1

    def configure(self, level: str, format: str) -> None:  # noqa: A002 - the config's own word
        """Set the level and the format: see ``logger.configure``."""
        self.level = LEVELS[level]
        self.form = "json" if format == "json" else "colour" if _is_terminal(_FD) else "plain"

    def share(self, lock_file: str) -> None:
        """Write together with other processes, without mixing up the lines of the processes.

        Args:
            lock_file: a file that all of them lock while they write: flock(2).
        """
        self._lock_fd = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC)

    def _write(self, data: bytes) -> int:
        if self._lock_fd < 0:
            return write(_FD, data)[0]
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        try:
            return write(_FD, data)[0]
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _format_lost(self, lost: int) -> bytes:
        return format_entry(self.form, "warning", "lines of this log were lost", {"lines": lost})


def _is_terminal(fd: int) -> bool:
    return fd >= 0 and os.isatty(fd)


stdout = Stdout()
"""The only instance: a process has one standard output."""
