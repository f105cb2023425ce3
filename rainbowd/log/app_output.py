"""The apps' own lines: on stdout, named by their generation, or in a file, as they are."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.log.format import DIM, RESET, encode, now
from rainbowd.log.logger import get_logger, stdout
from rainbowd.log.writer import Writer, write
from rainbowd.permissions import ROOT, foreign
from rainbowd.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable

_GENERATION_COLOURS = ("\x1b[36m", "\x1b[35m", "\x1b[34m", "\x1b[33m", "\x1b[32m")
_FILE_MODE = 0o640


def app_line(generation: int, line: str) -> None:
    """Say one line of an app's output, with the time at which it was read and the number of its generation."""
    at, text = now(), plain(line)
    if stdout.form == "json":
        said = json.dumps({"at": at, "event": "app", "generation": generation, "line": text})
    elif stdout.form == "colour":
        colour = _GENERATION_COLOURS[generation % len(_GENERATION_COLOURS)]
        said = f"{DIM}{at}{RESET} {colour}[{generation}]{RESET} {text}"
    else:
        said = f"{at} [{generation}] {text}"
    get_logger().put(encode(said))


def open_app_sink(app: Path | str | None) -> Callable[[int, str], None]:
    """Where the apps' lines go.

    Args:
        app: ``"stdout"``, a file to append to, or None to drop them.

    Returns:
        Takes a generation's number and a line of its output; neither waits nor raises.
    """
    if app is None:
        return lambda _generation, _line: None
    return app_line if app == "stdout" else AppLogFile(app).write


def open_log(path: Path | str) -> int:
    """Open a file to append to, made if it is missing, that no other account can have exchanged for another file.

    A symlink is followed only if it is ours or root's.  An agent that runs as root appends only to what nobody else
    can write or replace.

    Raises:
        OSError: as open(2), it is not a regular file, or others may change where it leads.
    """
    real = Path(os.path.realpath(path))
    if os.geteuid() == ROOT:
        for problem in foreign(Path(path).absolute()):
            raise PermissionError(errno.EPERM, str(problem), str(path))
    elif os.path.islink(path) and os.lstat(path).st_uid not in {ROOT, os.geteuid()}:  # noqa: PTH114 - may be a str
        raise PermissionError(errno.EPERM, "a symlink of another user", str(path))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(real, flags, _FILE_MODE)
    status = os.fstat(fd)
    is_foreign = os.geteuid() == ROOT and status.st_uid != ROOT
    if not stat.S_ISREG(status.st_mode) or is_foreign:
        os.close(fd)
        raise PermissionError(errno.EPERM, "another user's file" if is_foreign else "not a regular file", str(path))
    return fd


class AppLogFile:
    """A file that the apps' lines are appended to as they are; one that was moved away is made anew.

    Args:
        path: made where it is missing; its directory is not.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._fd = -1
        self._works = True
        self._writer = Writer(self._append, lambda lost: encode(f"rainbowd: {lost} lines were lost here"))

    def write(self, _generation: int, line: str) -> None:
        """Append a line, some time soon."""
        self._writer.put(encode(line))

    def _append(self, data: bytes) -> int:
        try:
            self._follow()
        except OSError as error:
            self._tell(error.strerror)
            return 0
        written, failure = write(self._fd, data)
        self._tell(failure)
        return written

    def _follow(self) -> None:
        """Have the file open that is at the path now."""
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._fd)):  # noqa: PTH116 - may be a str
                    return
            os.close(self._fd)
            self._fd = -1
        self._fd = open_log(self._path)

    def _tell(self, failure: str | None) -> None:
        """Say once that it fails, and once that it works again."""
        if failure is not None and self._works:
            get_logger().warning("log.app: cannot be written, its lines are lost", file=self._path, why=failure)
        elif failure is None and not self._works:
            get_logger().info("log.app: can be written again", file=self._path)
        self._works = failure is None
