"""``journal.jsonl``: a file of one event a line, which is appended to and rotated, but never rewritten."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, BinaryIO

from rainbowd.errors import RainbowdError
from rainbowd.report.state_dir import open_file, open_to_read, write_all
from rainbowd.timestamp import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

NAME = "journal.jsonl"
LIMIT_BYTES = 10 << 20
KEPT = 3
"""How many rotated files are kept; ``journal.jsonl.1`` is the newest."""

Event = dict[str, object]


class Journal:
    """The writer of a journal; its file may be moved or removed at any time.

    Args:
        path: of the file.
        limit_bytes: the size at which a file is rotated; only a single line can be longer.
    """

    def __init__(self, path: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path = path
        self._limit_bytes = limit_bytes

    def append(self, line: bytes) -> None:
        """Append one line.

        Args:
            line: with its newline.

        Raises:
            OSError: the line could not be written as a whole; it can be appended again.
        """
        self._make_room(len(line))
        fd = open_file(self._path, os.O_RDWR | os.O_APPEND)
        try:
            size = os.fstat(fd).st_size
            try:
                write_all(fd, b"\n" + line if _is_torn(fd, size) else line)
            except OSError:  # a full disk has accepted a part of it, which nobody can read
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)

    def _make_room(self, line_bytes: int) -> None:
        try:
            size = self._path.lstat().st_size
        except FileNotFoundError:
            return
        if size and size + line_bytes > self._limit_bytes:
            for older in range(KEPT, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    _rotated(self._path, older - 1).replace(_rotated(self._path, older))


def encode(event: str, at: datetime, **fields: object) -> bytes:
    """Return one line of the journal, in ASCII and with its newline.

    Args:
        event: the event's name.
        at: the time, with a time zone.
        fields: of the event; values that JSON does not have, such as paths, become strings.
    """
    first = {key: fields.pop(key) for key in ("generation", "release") if key in fields}
    return json.dumps({"at": timestamp(at), "event": event, **first, **fields}, default=str).encode() + b"\n"


def read_events(state_dir: Path, begins: str = "") -> Iterator[Event]:
    """Yield the events of the current and the rotated files, oldest first; lines that are not events are skipped.

    Args:
        state_dir: the directory of the journal.
        begins: the beginning of the events' names; this is several times faster than to filter afterwards.

    Raises:
        RainbowdError: a file cannot be read.
    """
    mark = f'"{begins}'.encode()
    with contextlib.ExitStack() as stack:
        for file in reversed(open_all(state_dir / NAME, stack)):
            for line in file:
                event = parse_event(line) if mark in line else None
                if event is not None and str(event["event"]).startswith(begins):
                    yield event


def open_all(path: Path, stack: contextlib.ExitStack) -> list[BinaryIO]:
    """Open the current and the rotated files of a journal, newest first.

    A rotation moves files in the same order, so one that happens meanwhile can show a file twice but hides none.

    Args:
        path: of the current file.
        stack: closes the files.

    Raises:
        RainbowdError: one cannot be read.
    """
    files: list[BinaryIO] = []
    for name in (_rotated(path, older) for older in range(KEPT + 1)):
        try:
            file = stack.enter_context(open_to_read(name))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RainbowdError(f"{name}: cannot be read: {error.strerror}") from None
        if not any(os.path.sameopenfile(file.fileno(), other.fileno()) for other in files):
            files.append(file)
    return files


def _rotated(path: Path, older: int) -> Path:
    return path.with_name(f"{path.name}.{older}") if older else path


def _is_torn(fd: int, size: int) -> bool:
    """Return whether the last line has no newline, because a power failure cut it off."""
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"


def parse_event(line: bytes) -> Event | None:
    """Return the event of a line; None if the line is not an event."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
