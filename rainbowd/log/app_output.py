"""The output of the app: on stdout with the generation's ID, or in a file, unchanged."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from pathlib import Path
from typing import Protocol

from rainbowd.log.format import DIM, RESET, encode, now
from rainbowd.log.logger import get_logger
from rainbowd.log.stdout import stdout
from rainbowd.log.writer import Writer, write
from rainbowd.permissions import ROOT, find_writable_by_others
from rainbowd.plain_text import plain

_GENERATION_COLOURS = ("\x1b[36m", "\x1b[35m", "\x1b[34m", "\x1b[33m", "\x1b[32m")
_FILE_MODE = 0o640


class AppSink(Protocol):
    """A function that logs one line of output, and neither waits nor raises."""

    def __call__(self, generation: int, line: str, process: str = "") -> None:
        """Log a line.

        Args:
            generation: the ID of the generation.
            line: without its newline.
            process: the companion process that wrote it, such as ``worker.2``; empty for the app.
        """


def app_line(generation: int, line: str, process: str = "") -> None:
    """Log one line of output, with the current time and the ID of its generation; see ``AppSink``."""
    at, text = now(), plain(line)
    source = f"{generation} {process}" if process else str(generation)
    if stdout.form == "json":
        named = {"process": process} if process else {}
        entry = json.dumps({"at": at, "event": "app", "generation": generation, **named, "line": text})
    elif stdout.form == "colour":
        colour = _GENERATION_COLOURS[generation % len(_GENERATION_COLOURS)]
        entry = f"{DIM}{at}{RESET} {colour}[{source}]{RESET} {text}"
    else:
        entry = f"{at} [{source}] {text}"
    stdout.writer.put(encode(entry))


def open_app_sink(app: Path | str | None) -> AppSink:
    """Return the function that logs the output of the app and its companion processes.

    Args:
        app: ``"stdout"``, a file to append to, or None to drop the lines.
    """
    if app is None:
        return _drop
    return app_line if app == "stdout" else AppLogFile(app).write


def _drop(generation: int, line: str, process: str = "") -> None:
    """Drop a line, because the config turns the output off."""


def open_log(path: Path | str) -> int:
    """Open a log file to append to, so that no other account can redirect the lines; create it if it is missing.

    A symlink is followed only if it belongs to our user or to root.  An agent that runs as root appends only to a file
    that nobody else can write or replace.

    Returns:
        The file descriptor.

    Raises:
        OSError: as open(2); or the file is not a regular one, or other accounts can change what the path leads to.
    """
    real = Path(os.path.realpath(path))
    if os.geteuid() == ROOT:
        for problem in find_writable_by_others(Path(path).absolute()):
            raise PermissionError(errno.EPERM, str(problem), str(path))
    elif os.path.islink(path) and os.lstat(path).st_uid not in {ROOT, os.geteuid()}:  # noqa: PTH114 - may be a str
        raise PermissionError(errno.EPERM, "a symlink of another user", str(path))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(real, flags, _FILE_MODE)
    status = os.fstat(fd)
    reason = _find_problem(status)
    if reason is not None:
        os.close(fd)
        raise PermissionError(errno.EPERM, reason, str(path))
    return fd


def _find_problem(status: os.stat_result) -> str | None:
    """Return why an open file cannot be the log; None if it can."""
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if os.geteuid() == ROOT and status.st_uid != ROOT:
        return "another user's file"
    if (
        os.geteuid() == ROOT and status.st_nlink > 1
    ):  # in /tmp, others can link root's files where links are not protected
        return "a file with more than one name"
    return None


class AppLogFile:
    """A file to which the app's lines are appended unchanged; it is created again after log rotation moved it.

    Args:
        path: of the file; its directory must exist.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._fd = -1
        self._works = True
        self._writer = Writer(self._append, lambda lost: encode(f"rainbowd: {lost} lines were lost here"))

    def write(self, generation: int, line: str, process: str = "") -> None:
        """Queue a line, which the writer's thread appends as it is."""
        del generation, process
        self._writer.put(encode(line))

    def _append(self, data: bytes) -> int:
        try:
            self._reopen_if_moved()
        except OSError as error:
            self._log_change(error.strerror)
            return 0
        written, failure = write(self._fd, data)
        self._log_change(failure)
        return written

    def _reopen_if_moved(self) -> None:
        """Open the file that is at the path now, unless it is the one that is open."""
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._fd)):  # noqa: PTH116 - may be a str
                    return
            os.close(self._fd)
            self._fd = -1
        self._fd = open_log(self._path)

    def _log_change(self, failure: str | None) -> None:
        """Log the first failure, and the first success after it."""
        if failure is not None and self._works:
            get_logger().warning("log.app: cannot be written, its lines are lost", file=self._path, error=failure)
        elif failure is None and not self._works:
            get_logger().info("log.app: can be written again", file=self._path)
        self._works = failure is None
