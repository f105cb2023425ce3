"""``journal.jsonl``: one event a line, appended and never rewritten but by rotation."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC
from typing import TYPE_CHECKING, BinaryIO

from rainbowd.errors import RainbowdError
from rainbowd.report.state_dir import open_file, open_to_read, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

NAME = "journal.jsonl"
LIMIT_BYTES = 10 << 20
KEPT = 3
"""Rotated files: ``journal.jsonl.1`` is the youngest."""

Event = dict[str, object]


class Journal:
    """Appends to a journal; the file may be moved away or removed at any time.

    Args:
        path: of the file.
        limit_bytes: no file grows beyond, but for a single line that is longer.
    """

    def __init__(self, path: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path = path
        self._limit_bytes = limit_bytes

    def append(self, line: bytes) -> None:
        """Append one line, with its end.

        Raises:
            OSError: it is not there as a whole; it may be appended again.
        """
        self._make_room(len(line))
        fd = open_file(self._path, os.O_RDWR | os.O_APPEND)
        try:
            size = os.fstat(fd).st_size
            try:
                write_all(fd, b"\n" + line if _is_torn(fd, size) else line)
            except OSError:  # a full disk has taken a part, which is of use to nobody
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
    """One line of the journal, with its end, in ASCII.

    Args:
        event: its name.
        at: with a time zone.
        fields: what JSON has no form for, such as a path, becomes a string.
    """
    first = {key: fields.pop(key) for key in ("generation", "release") if key in fields}
    time = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"at": time, "event": event, **first, **fields}, default=str).encode() + b"\n"


def read_events(state_dir: Path, begins: str = "") -> Iterator[Event]:
    """The events, oldest first, over rotated files too; what is no event is skipped.

    Args:
        state_dir: with the journal.
        begins: only those whose name begins so, which is several times as fast as to read all and choose.

    Raises:
        RainbowdError: a file cannot be read.
    """
    mark = f'"{begins}'.encode()
    with contextlib.ExitStack() as stack:
        for file in reversed(open_all(state_dir / NAME, stack)):
            for line in file:
                event = event_of(line) if mark in line else None
                if event is not None and str(event["event"]).startswith(begins):
                    yield event


def open_all(path: Path, stack: contextlib.ExitStack) -> list[BinaryIO]:
    """Open a journal's files, youngest first.

    That is the way that files are moved: a rotation meanwhile shows one twice and hides none.

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
    """Whether the last line has no end: a power failure cut it off."""
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"


def event_of(line: bytes) -> Event | None:
    """The event that a line tells; None where it tells none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
