"""What the agent says, and where the apps' own lines go.

Nothing here waits, raises into its caller or grows without bound: a line is put in a queue, and a thread
writes.  Where the reader is gone, slow or stopped (Ctrl-S), or the disk is full, lines are dropped and counted;
the count is said as soon as writing works again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from structlog.typing import EventDict, FilteringBoundLogger

LINES_MAX = 10_000
BYTES_MAX = 8 << 20
"""What a queue holds; as much again may be on its way out."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Form = Literal["plain", "colour", "json"]

_BELOW = ("output", "exception")
"""Fields of many lines: each has a line of its own, below the entry."""

_BARE = re.compile(r"[^\s\"'=\\]+")
_COLOUR_ESCAPE = re.compile(r"\x1b\[[0-9;:]*m")
_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_LEVEL_COLOURS = {"debug": _DIM, "info": "\x1b[32m", "warning": "\x1b[33m"}
_ERROR_COLOUR = "\x1b[31m"
_GENERATION_COLOURS = ("\x1b[36m", "\x1b[35m", "\x1b[34m", "\x1b[33m", "\x1b[32m")
_INDENT = "    "
_APP_FILE_MODE = 0o640


def configure(level: str, format: str) -> None:  # noqa: A002 - the config's own word
    """Say from now on what is of ``level`` or above, on stdout.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``json``: one object a line; ``auto``: colours on a terminal, plain lines elsewhere.
    """
    _stdout.level = LEVELS[level]
    _stdout.form = "json" if format == "json" else "colour" if _is_terminal(_STDOUT) else "plain"
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _stdout,
        cache_logger_on_first_use=False,
    )


def get_logger() -> FilteringBoundLogger:
    """A logger; one got before ``configure`` follows what that says."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def request(fields: Mapping[str, Any]) -> None:
    """Say that a request was answered, at level info: past structlog, which costs more than all the rest of it."""
    if _stdout.level <= LEVELS["info"]:
        _stdout.writer.put(_entry(_stdout.form, "info", "request", fields))


def app_line(generation: int, line: str) -> None:
    """Say one line of an app's output, named by its generation."""
    text = _COLOUR_ESCAPE.sub("", line)
    if _stdout.form == "json":
        said = json.dumps({"at": _now(), "event": "app", "generation": generation, "line": text})
    elif _stdout.form == "colour":
        colour = _GENERATION_COLOURS[generation % len(_GENERATION_COLOURS)]
        said = f"{colour}[{generation}]{_RESET} {_inert(text)}"
    else:
        said = f"[{generation}] {_inert(text)}"
    _stdout.writer.put(_encode(said))


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


def flush(timeout_seconds: float) -> bool:
    """Wait until everything said before is written or dropped; False if that was not so in time."""
    deadline = time.monotonic() + timeout_seconds
    done = [writer.flush(max(0.0, deadline - time.monotonic())) for writer in list(_writers)]
    return all(done)


class AppLogFile:
    """A file that the apps' lines are appended to as they are; one that was moved away is made anew.

    Args:
        path: made where it is missing; its directory is not.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._fd = -1
        self._works = True
        self._writer = Writer(self._append, lambda lost: _encode(f"rainbowd: {lost} lines were lost here"))

    def write(self, _generation: int, line: str) -> None:
        """Append a line, some time soon."""
        self._writer.put(_encode(line))

    def _append(self, data: bytes) -> int:
        try:
            self._follow()
        except OSError as error:
            self._tell(error.strerror)
            return 0
        written, failure = _write(self._fd, data)
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
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _APP_FILE_MODE)

    def _tell(self, failure: str | None) -> None:
        """Say once that it fails, and once that it works again."""
        if failure is not None and self._works:
            get_logger().warning("log.app: cannot be written, its lines are lost", file=self._path, why=failure)
        elif failure is None and not self._works:
            get_logger().info("log.app: can be written again", file=self._path)
        self._works = failure is None


class Writer:
    """Lines on their way to a place that may be slow, full or gone: a bounded queue and a thread.

    Args:
        write: writes bytes and returns how many; fewer than given is a failure. The thread's: it may block.
        tell_lost: the line that takes the place of so many lost ones.
    """

    def __init__(self, write: Callable[[bytes], int], tell_lost: Callable[[int], bytes]) -> None:
        self._write = write
        self._tell_lost = tell_lost
        self._changed = threading.Condition()  # its lock may be taken twice: a destructor may log too
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._missed = 0
        self._writing = False
        self._thread: threading.Thread | None = None
        _writers.append(self)

    def put(self, line: bytes) -> None:
        """Take a line with its end, or count it where there is no room."""
        if sys.is_finalizing():  # the thread may have been ended with the lock in its hands
            return
        with self._changed:
            has_room = len(self._waiting) < LINES_MAX and self._waiting_bytes + len(line) <= BYTES_MAX
            if not (has_room and self._has_thread()):
                self._missed += 1
                return
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            if len(self._waiting) == 1:  # else the thread is told already
                self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until nothing is waiting; False if that was not so in time."""
        if sys.is_finalizing():
            return False
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._writing), timeout_seconds)

    def _has_thread(self) -> bool:
        """Start the thread at the first line."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, by a limit or because the interpreter shuts down
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        # SIGPIPE must not end us, and SIGTTOU (a background job, stty tostop) not stop us.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        lost, works, is_torn = 0, True, False
        while True:
            lines, missed = self._take(wait=not (lost and works))
            head = self._tell_lost(lost) if lost else b""
            if is_torn:
                head = b"\n" + head
            data = head + b"".join(lines)
            written = self._write(data)
            works = written == len(data)
            if written:
                is_torn = data[written - 1 : written] != b"\n"
            unsaid = lost if written < len(head) else 0
            lost = unsaid + data[max(written, len(head)) :].count(b"\n") + missed

    def _take(self, *, wait: bool) -> tuple[list[bytes], int]:
        """All lines that wait, and how many have found no room behind them."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while wait and not self._waiting:
                self._changed.wait()
            self._writing = True
            taken = self._waiting, self._missed
            self._waiting, self._waiting_bytes, self._missed = [], 0, 0
            return taken


class _Stdout:
    """What structlog hands its lines to."""

    def __init__(self) -> None:
        self.form: Form = "plain"
        self.level = LEVELS["info"]
        self.writer = Writer(lambda data: _write(_STDOUT, data)[0], self._tell_lost)

    def info(self, line: bytes) -> None:
        self.writer.put(line)

    debug = warning = error = critical = info

    def _tell_lost(self, lost: int) -> bytes:
        return _entry(self.form, "warning", "lines of this log were lost", {"lines": lost})


def _render(_logger: _Stdout, level: str, fields: EventDict) -> bytes:
    """The last of structlog's processors: an entry as bytes."""
    event = str(fields.pop("event", ""))
    try:
        return _entry(_stdout.form, level, event, fields)
    except Exception as bug:  # noqa: BLE001 - what str() and repr() of any object may raise
        return _entry(_stdout.form, level, event, {"unsayable": ", ".join(fields), "why": type(bug).__name__})


def _entry(form: Form, level: str, event: str, fields: Mapping[str, Any]) -> bytes:
    if form == "json":
        return _encode(json.dumps({"at": _now(), "level": level, "event": event, **fields}, default=str))
    dim, colour, reset = "", "", ""
    if form == "colour":
        dim, colour, reset = _DIM, _LEVEL_COLOURS.get(level, _ERROR_COLOUR), _RESET
    words = [f"{dim}{_now()}{reset}", f"{colour}{level:<5}{reset}", _inert(event)]
    words += [f"{dim}{_inert(key)}={reset}{_value(value)}" for key, value in fields.items() if key not in _BELOW]
    below = [line for key in _BELOW for line in _lines(fields.get(key))]
    return _encode("\n".join([" ".join(words), *(f"{_INDENT}{_inert(line)}" for line in below)]))


def _value(value: object) -> str:
    """A field's value as one word: bare where that is clear, else as JSON."""
    if isinstance(value, str) and value.isprintable() and _BARE.fullmatch(value):
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, float):
        value = round(value, 3)
    if isinstance(value, str) and value.isprintable() and _BARE.fullmatch(value):  # what was a path
        return value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _inert(text)


def _lines(value: object) -> list[str]:
    if not value:
        return []
    return [str(line) for line in value] if isinstance(value, list) else str(value).splitlines()


def _inert(text: str) -> str:
    """Text that a terminal shows and does not obey, in one line."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\t" else one.encode("unicode_escape").decode() for one in text)


def _encode(line: str) -> bytes:
    return line.encode(errors="backslashreplace") + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(fd: int, data: bytes) -> tuple[int, str | None]:
    """Write until all is written or something fails: how many bytes were, and what failed."""
    view, written = memoryview(data), 0
    while written < len(view):
        try:
            written += os.write(fd, view[written:])
        except BlockingIOError:  # others share the terminal or pipe and have made it non-blocking
            _wait_writable(fd)
        except OSError as error:
            return written, error.strerror
    return written, None


def _wait_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()


def _is_terminal(fd: int) -> bool:
    return fd >= 0 and os.isatty(fd)


_STDOUT = 1 if sys.__stdout__ is not None else -1
"""Started with stdout closed, the number 1 may by now be anything, such as a client's connection."""

_writers: list[Writer] = []
_stdout = _Stdout()
configure("info", "auto")
