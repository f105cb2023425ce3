"""An app's stdout and stderr: one named pipe, always read, whatever becomes of what was read."""

from __future__ import annotations

import fcntl
import os
import stat
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.host.excerpt import FIRST_LINES, LAST_LINES, Excerpt
from rainbowd.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEPT_LINE_BYTES = 2048
LINES_A_TURN = 100
"""How many lines are told before others have a turn: a line costs as much as a kilobyte."""
FINAL_LINES = 2000
"""How many are told at the end, at once."""
_LINE_BYTES = 65536  # a longer line is told in pieces
_PIPE_BYTES = 1 << 20
_READ_BYTES = 16384


class Output:
    """The named pipe of one generation, made anew.

    The app has it open for reading and writing, so that there always is a reader: a write neither fails while
    the agent is gone, nor is what the pipe holds lost.  We hold it open both ways too, so that it never ends.

    Args:
        path: where to make it; what is there is replaced, unless ``is_kept``.  None for a pipe without a name, whose
            writer cannot outlive us.
        owner: the number of the app's user, who may then open /dev/stdout again; -1 for ours.
        is_kept: an app has one open already, and in it may be what was written while nobody read.  Where its file is
            gone, a new one takes its place that stays empty.

    Attributes:
        child_fd: for the app's stdout and stderr.
    """

    def __init__(self, path: Path | None, owner: int = -1, *, is_kept: bool = False) -> None:
        self._fd, self.child_fd = os.pipe2(os.O_CLOEXEC) if path is None else _make(path, is_kept=is_kept)
        os.set_blocking(self._fd, False)
        if owner >= 0:
            os.fchown(self._fd, owner, -1)
        with suppress(OSError):  # more than an unprivileged user may have
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._sink: Callable[[str], None] = _nowhere
        self._partial = b""
        self._untold: deque[bytes] = deque()
        self._excerpt = Excerpt()

    def excerpt(self) -> list[str]:
        """Return the first and the last lines that are there by now, as plain text of 2 KB each at most."""
        self._read_all()
        partial = [_kept(self._partial)] if self._partial else []
        return [*self._excerpt.lines(), *partial]

    def close_child_end(self) -> None:
        """Close ``child_fd``, which the app has by now."""
        if self.child_fd >= 0:
            os.close(self.child_fd)
            self.child_fd = -1

    async def drain(self, sink: Callable[[str], None]) -> None:
        """Read until cancelled.

        Args:
            sink: is given each line, without its end; must not block.
        """
        self._sink = sink
        while True:
            if self._untold:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._fd)
                self._read_once()
            self._tell(LINES_A_TURN)

    def finish(self) -> None:
        """Read and tell what is there by now, without waiting, and take what has no end of line for a line.

        Of a flood only the beginning is told, and how many lines are left out.
        """
        self._read_all()
        if self._partial:
            self._take([self._partial])
            self._partial = b""
        self._tell(FINAL_LINES)
        if self._untold:
            self._sink(f"… {len(self._untold)} lines …")
            self._untold.clear()

    def close(self) -> None:
        """Leave the pipe to those who have it open, and its file to others."""
        self.close_child_end()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read_all(self) -> None:
        for _ in range(2 * _PIPE_BYTES // _READ_BYTES):  # and no more if somebody goes on writing
            if not self._read_once():
                break

    def _read_once(self) -> bool:
        """Return whether there was something to read."""
        try:
            chunk = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        while len(self._partial) >= _LINE_BYTES:
            lines.append(self._partial[:_LINE_BYTES])
            self._partial = self._partial[_LINE_BYTES:]
        self._take(lines)
        return True

    def _take(self, lines: list[bytes]) -> None:
        self._untold.extend(lines)
        left_out = max(0, len(lines) - FIRST_LINES - LAST_LINES)
        for line in lines[:FIRST_LINES]:
            self._excerpt.add(_kept(line))
        self._excerpt.leave_out(left_out)
        for line in lines[FIRST_LINES + left_out :]:
            self._excerpt.add(_kept(line))

    def _tell(self, count: int) -> None:
        """Give ``count`` lines at most to the sink."""
        for _ in range(min(count, len(self._untold))):
            self._sink(_decode(self._untold.popleft().removesuffix(b"\r")))


def _make(path: Path, *, is_kept: bool) -> tuple[int, int]:
    """Make the named pipe ``path`` and open it twice, for us and for the app."""
    if is_kept:
        with suppress(OSError):
            return _open(path), -1
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    ours = _open(path)
    os.fchmod(ours, 0o640)  # whatever the umask is
    return ours, _open(path)


def _open(path: Path) -> int:
    """Open the named pipe ``path`` both ways (fifo(7): never blocks), and nothing in its place."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileExistsError(f"{path}: expected a named pipe")
    return fd


def _kept(line: bytes) -> str:
    return plain(_decode(line[:KEPT_LINE_BYTES]))


def _decode(line: bytes) -> str:
    return line.decode(errors="backslashreplace")


def _nowhere(line: str) -> None:
    """The sink before there is one."""
