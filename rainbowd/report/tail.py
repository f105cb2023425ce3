"""A reader that follows a journal as it grows and is rotated, from its end or from the last event it has read."""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rainbowd.report.journal import NAME, open_all, parse_event

if TYPE_CHECKING:
    from pathlib import Path

LINES_MAX = 500
"""The most lines that one ``read`` returns."""

_ID = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{3})?Z(?:-([0-9a-f]{8}))?", re.ASCII)
_AT = b'{"at": "'
_AT_BYTES = len("2026-01-01T00:00:00.000Z")


class Line(NamedTuple):
    """One event: the ID after which a reader can resume, the event's name, and its line without the newline."""

    id: str
    event: str
    text: str


class Cursor(NamedTuple):
    """The position of a reader: after the line with this time and checksum; without a checksum, after this time."""

    at: bytes
    checksum: int | None


def parse_id(text: str) -> Cursor:
    """Parse the ID of a line, or a time in RFC 3339 and UTC.

    Args:
        text: the ID or the time.

    Raises:
        ValueError: the text is neither.
    """
    found = _ID.fullmatch(text)
    if found is None:
        raise ValueError("the id of an event, or a time such as 2026-01-01T00:00:00.000Z")
    at = f"{found[1]}{found[2] or '.000'}Z".encode()
    return Cursor(at, None if found[3] is None else int(found[3], 16))


class Tail:
    """A reader of a journal, for one thread at a time.

    Args:
        state_dir: the directory of the journal, which need not exist yet.
        after: the position to start at; None for the end.

    Raises:
        RainbowdError: a file cannot be read.
    """

    def __init__(self, state_dir: Path, after: Cursor | None) -> None:
        self._path = state_dir / NAME
        self._file: BinaryIO | None = None
        self._offset = 0
        with contextlib.ExitStack() as stack:
            files = open_all(self._path, stack)
            if not files:
                return
            file, self._offset = (files[0], _end(files[0])) if after is None else _find(files, after)
            self._file = os.fdopen(os.dup(file.fileno()), "rb")

    def close(self) -> None:
        """Close the journal's file, if it is open."""
        if self._file is not None:
            self._file.close()

    def read(self) -> list[Line]:
        """Return the next lines, oldest first; an empty list if there are no more yet.

        Raises:
            RainbowdError, OSError: a file cannot be read.
        """
        while True:
            is_rotated = self._is_rotated()  # checked first: then our file contains everything written before
            lines = self._rest()
            if lines or not is_rotated or not self._open_next():
                return lines

    def _rest(self) -> list[Line]:
        lines: list[Line] = []
        if self._file is None:
            return lines
        if os.fstat(self._file.fileno()).st_size < self._offset:  # truncated in place, as by copytruncate
            self._offset = 0
        self._file.seek(self._offset)
        while len(lines) < LINES_MAX:
            raw = self._file.readline()
            if not raw.endswith(b"\n"):  # the rest of the line is not written yet
                break
            self._offset += len(raw)
            event = parse_event(raw)
            if event is not None:
                at = raw[len(_AT) : len(_AT) + _AT_BYTES].decode()
                lines.append(Line(f"{at}-{_checksum(raw):08x}", str(event["event"]), raw.decode().rstrip("\n")))
        return lines

    def _is_rotated(self) -> bool:
        """Return whether another file is the journal now."""
        try:
            now = self._path.stat()
        except OSError:
            return False
        return self._file is None or not os.path.samestat(now, os.fstat(self._file.fileno()))

    def _open_next(self) -> bool:
        """Open the file after the one that was read, or the oldest if that is gone; return whether there is one."""
        with contextlib.ExitStack() as stack:
            files = open_all(self._path, stack)
            own = self._file
            newer = files
            for index, file in enumerate(files):
                if own is not None and os.path.sameopenfile(file.fileno(), own.fileno()):
                    newer = files[:index]
            if not newer:
                return False
            self.close()
            self._file, self._offset = os.fdopen(os.dup(newer[-1].fileno()), "rb"), 0
        return True


def _find(files: list[BinaryIO], after: Cursor) -> tuple[BinaryIO, int]:
    """Return the file and the offset after a position: after its line, or if that is gone at the first newer line."""
    if after.checksum is not None:
        for file in files:
            offset = _offset_after(file, after.at, after.checksum)
            if offset is not None:
                return file, offset
    for file in reversed(files):
        offset = _offset_of_newer(file, after.at)
        if offset is not None:
            return file, offset
    return files[0], _end(files[0])


def _offset_after(file: BinaryIO, at: bytes, checksum: int) -> int | None:
    prefix, offset = _AT + at, 0
    file.seek(0)
    for raw in file:
        offset += len(raw)
        if raw.startswith(prefix) and _checksum(raw) == checksum:
            return offset
    return None


def _offset_of_newer(file: BinaryIO, at: bytes) -> int | None:
    offset = 0
    file.seek(0)
    for raw in file:
        if raw.startswith(_AT) and raw[len(_AT) : len(_AT) + _AT_BYTES] > at:
            return offset
        offset += len(raw)
    return None


def _end(file: BinaryIO) -> int:
    """Return the offset after the last complete line."""
    size = file.seek(0, os.SEEK_END)
    back = 1 << 16
    file.seek(max(0, size - back))
    tail = file.read(back)
    return size - (len(tail) - tail.rfind(b"\n") - 1)


def _checksum(raw: bytes) -> int:
    return zlib.crc32(raw.rstrip(b"\n"))
