"""Follows a journal as it grows, over rotations, from its end or from behind an event that a reader has seen."""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rainbowd.report.journal import NAME, event_of, open_all

if TYPE_CHECKING:
    from pathlib import Path

LINES_MAX = 500
"""In one reading."""

_ID = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{3})?Z(?:-([0-9a-f]{8}))?", re.ASCII)
_AT = b'{"at": "'
_AT_BYTES = len("2026-01-01T00:00:00.000Z")


class Line(NamedTuple):
    """One event: by what a reader resumes behind it, its name, and its line without the end."""

    id: str
    event: str
    text: str


class Cursor(NamedTuple):
    """Where a reader was: behind the line of this time and checksum; without one, behind all up to that time."""

    at: bytes
    checksum: int | None


def parse_id(text: str) -> Cursor:
    """Read a line's id, or a time in RFC 3339 and UTC.

    Raises:
        ValueError: it is neither.
    """
    found = _ID.fullmatch(text)
    if found is None:
        raise ValueError("the id of an event, or a time such as 2026-01-01T00:00:00.000Z")
    at = f"{found[1]}{found[2] or '.000'}Z".encode()
    return Cursor(at, None if found[3] is None else int(found[3], 16))


class Tail:
    """A reader's place in a journal; whoever reads must not do so in two threads at once.

    Args:
        state_dir: with the journal, which need not be there yet.
        after: where the reader was; None for the end.

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
        """Be done."""
        if self._file is not None:
            self._file.close()

    def read(self) -> list[Line]:
        """The next lines, oldest first; none where there are no more yet.

        Raises:
            RainbowdError, OSError: a file cannot be read.
        """
        while True:
            is_rotated = self._is_rotated()  # asked first: all that was written before is then in our file
            lines = self._rest()
            if lines or not is_rotated or not self._go_on():
                return lines

    def _rest(self) -> list[Line]:
        lines: list[Line] = []
        if self._file is None:
            return lines
        if os.fstat(self._file.fileno()).st_size < self._offset:  # emptied in its place, as by copytruncate
            self._offset = 0
        self._file.seek(self._offset)
        while len(lines) < LINES_MAX:
            raw = self._file.readline()
            if not raw.endswith(b"\n"):  # the rest of it is on its way
                break
            self._offset += len(raw)
            event = event_of(raw)
            if event is not None:
                at = raw[len(_AT) : len(_AT) + _AT_BYTES].decode()
                lines.append(Line(f"{at}-{_checksum(raw):08x}", str(event["event"]), raw.decode().rstrip("\n")))
        return lines

    def _is_rotated(self) -> bool:
        """Whether another file is the journal now."""
        try:
            now = self._path.stat()
        except OSError:
            return False
        return self._file is None or not os.path.samestat(now, os.fstat(self._file.fileno()))

    def _go_on(self) -> bool:
        """Open the file behind the one that was read to its end, or the oldest where that is gone; whether there is."""
        with contextlib.ExitStack() as stack:
            files = open_all(self._path, stack)
            own = self._file
            younger = files
            for index, file in enumerate(files):
                if own is not None and os.path.sameopenfile(file.fileno(), own.fileno()):
                    younger = files[:index]
            if not younger:
                return False
            self.close()
            self._file, self._offset = os.fdopen(os.dup(younger[-1].fileno()), "rb"), 0
        return True


def _find(files: list[BinaryIO], after: Cursor) -> tuple[BinaryIO, int]:
    """The file and the offset behind ``after``: its very line, or where that is gone what is younger."""
    if after.checksum is not None:
        for file in files:
            offset = _behind(file, after.at, after.checksum)
            if offset is not None:
                return file, offset
    for file in reversed(files):
        offset = _younger(file, after.at)
        if offset is not None:
            return file, offset
    return files[0], _end(files[0])


def _behind(file: BinaryIO, at: bytes, checksum: int) -> int | None:
    prefix, offset = _AT + at, 0
    file.seek(0)
    for raw in file:
        offset += len(raw)
        if raw.startswith(prefix) and _checksum(raw) == checksum:
            return offset
    return None


def _younger(file: BinaryIO, at: bytes) -> int | None:
    offset = 0
    file.seek(0)
    for raw in file:
        if raw.startswith(_AT) and raw[len(_AT) : len(_AT) + _AT_BYTES] > at:
            return offset
        offset += len(raw)
    return None


def _end(file: BinaryIO) -> int:
    """Behind the last line that has an end."""
    size = file.seek(0, os.SEEK_END)
    back = 1 << 16
    file.seek(max(0, size - back))
    tail = file.read(back)
    return size - (len(tail) - tail.rfind(b"\n") - 1)


def _checksum(raw: bytes) -> int:
    return zlib.crc32(raw.rstrip(b"\n"))
