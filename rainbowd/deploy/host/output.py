"""An app's stdout and stderr: one named pipe that is always read, and the beginning of what it contained."""

from __future__ import annotations

import fcntl
import os
import stat
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.host.excerpt import FIRST_LINES, LAST_LINES, Excerpt
from rainbowd.log import get_logger
from rainbowd.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KEPT_LINE_BYTES = 2048
LINES_A_TURN = 100
"""How many lines are passed on before other tasks run: a line costs as much as a kilobyte."""
FINAL_LINES = 2000
"""How many lines are passed on at the end, at once."""
STARTUP_BYTES = 1 << 16
"""How much of an app's first output is kept; the log has all of it, and a failure's report the end."""
_LINE_BYTES = 65536  # a longer line is passed on in pieces
_PIPE_BYTES = 1 << 20
_READ_BYTES = 16384
_DELETED = " (deleted)"
"""The end of a link in /proc/PID/fd whose file was removed: proc_pid_fd(5)."""

log = get_logger()


class Output:
    """The output pipe of one generation.

    The app has the pipe open for reading and writing, so that it always has a reader: while no agent runs, writes
    succeed and the content of the pipe is kept.  The agent has it open both ways too, so that it never reaches EOF.

    Args:
        path: of the named pipe, which is created; an existing file is replaced, unless ``is_kept``.  None for a pipe
            without a name, whose writer cannot outlive the agent.
        owner: the uid of the app's user, who can then open /dev/stdout again; -1 for the agent's own.
        is_kept: an app has the pipe open already, with output that was written while nobody read it.  If its file no
            longer exists and no writer has it, a new pipe is created, which stays empty.
        writers: numbers of the processes that may have a kept pipe as their stdout or stderr.

    Attributes:
        child_fd: the descriptor for the app's stdout and stderr; -1 once it is closed.
    """

    def __init__(
        self, path: Path | None, owner: int = -1, *, is_kept: bool = False, writers: Iterable[int] = ()
    ) -> None:
        if path is None:
            self._fd, self.child_fd = os.pipe2(os.O_CLOEXEC)
        else:
            self._fd, self.child_fd = _open_kept(path, writers) if is_kept else _make(path)
        os.set_blocking(self._fd, False)
        if owner >= 0:
            os.fchown(self._fd, owner, -1)
        with suppress(OSError):  # more than an unprivileged user may have
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._sink: Callable[[str], None] = _discard
        self._partial = b""
        self._pending: deque[bytes] = deque()
        self._excerpt = Excerpt()

    def excerpt(self) -> list[str]:
        """Return the first and the last lines of the output so far, as plain text of at most 2 KB each."""
        self._read_all()
        partial = [_kept(self._partial)] if self._partial else []
        return [*self._excerpt.lines(), *partial]

    def close_child_end(self) -> None:
        """Close ``child_fd``, which the app has inherited."""
        if self.child_fd >= 0:
            os.close(self.child_fd)
            self.child_fd = -1

    async def drain(self, sink: Callable[[str], None]) -> None:
        """Read until cancelled, and pass each line on.

        Args:
            sink: called with each line, without its end; must not block.
        """
        self._sink = sink
        while True:
            if self._pending:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._fd)
                self._read_once()
            self._pass_on(LINES_A_TURN)

    def finish(self) -> None:
        """Read the rest without waiting and pass it on; an incomplete last line counts as a line.

        If more than ``FINAL_LINES`` are left, their beginning and the number of omitted lines are passed on.
        """
        self._read_all()
        if self._partial:
            self._add_lines([self._partial])
            self._partial = b""
        self._pass_on(FINAL_LINES)
        if self._pending:
            self._sink(f"… {len(self._pending)} lines …")
            self._pending.clear()

    def close(self) -> None:
        """Close the agent's descriptors; the app keeps its own, and the file stays."""
        self.close_child_end()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read_all(self) -> None:
        for _ in range(2 * _PIPE_BYTES // _READ_BYTES):  # bounded, because the app may continue to write
            if not self._read_once():
                break

    def _read_once(self) -> bool:
        """Read one chunk; return whether there was one."""
        try:
            chunk = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        while len(self._partial) >= _LINE_BYTES:
            lines.append(self._partial[:_LINE_BYTES])
            self._partial = self._partial[_LINE_BYTES:]
        self._add_lines(lines)
        return True

    def _add_lines(self, lines: list[bytes]) -> None:
        self._pending.extend(lines)
        left_out = max(0, len(lines) - FIRST_LINES - LAST_LINES)
        for line in lines[:FIRST_LINES]:
            self._excerpt.add(_kept(line))
        self._excerpt.leave_out(left_out)
        for line in lines[FIRST_LINES + left_out :]:
            self._excerpt.add(_kept(line))

    def _pass_on(self, count: int) -> None:
        """Pass at most ``count`` lines to the sink."""
        for _ in range(min(count, len(self._pending))):
            self._sink(_decode(self._pending.popleft().removesuffix(b"\r")))


class StartupOutput:
    """The output of an app until it is live, kept in a file for commands that wait for the deploy.

    It only grows, so that a reader can continue where it stopped.

    Args:
        store: queues the content of the file, which is encoded when it is written.
    """

    def __init__(self, store: Callable[[Callable[[], bytes]], None]) -> None:
        self._store = store
        self._text = b""
        self._is_complete = False

    def append(self, line: str) -> None:
        """Add a line, given without its end; after ``STARTUP_BYTES``, lines are left out."""
        data = plain(line).encode(errors="backslashreplace") + b"\n"
        self._is_complete |= len(self._text) + len(data) > STARTUP_BYTES
        if not self._is_complete:
            self._text += data
            self._store(self.encode)

    def store_again(self) -> None:
        """Store the file once more, because it is gone."""
        if self._text:
            self._store(self.encode)

    def encode(self) -> bytes:
        """Return the content of the file."""
        return self._text


def open_output(path: Path, writers: Iterable[int]) -> Output:
    """Return the pipe that an app writes to already; if it cannot be opened, one that stays empty.

    Args:
        path: of the named pipe.
        writers: numbers of the app's processes, which still have the pipe open if its file was removed.
    """
    try:
        output = Output(path, is_kept=True, writers=writers)
    except OSError as error:
        log.warning("the app's output is lost", file=error.filename, error=error.strerror)
        output = Output(None)
    output.close_child_end()
    return output


def _open_kept(path: Path, writers: Iterable[int]) -> tuple[int, int]:
    """Open the named pipe ``path``, or the pipe of that name that a writer has open; else create one."""
    with suppress(OSError):
        return _open(path), -1
    for pid in writers:
        for link in (Path(f"/proc/{pid}/fd/1"), Path(f"/proc/{pid}/fd/2")):
            with suppress(OSError):
                if link.readlink().name.removesuffix(_DELETED) == path.name and link.is_fifo():
                    return os.open(link, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), -1
    return _make(path)


def _make(path: Path) -> tuple[int, int]:
    """Create the named pipe ``path`` and open it twice, for the agent and for the app."""
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    reading_end = _open(path)
    os.fchmod(reading_end, 0o640)  # whatever the umask is
    return reading_end, _open(path)


def _open(path: Path) -> int:
    """Open the named pipe ``path`` both ways, which never blocks (fifo(7)), and no other kind of file."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileExistsError(f"{path}: expected a named pipe")
    return fd


def _kept(line: bytes) -> str:
    return plain(_decode(line[:KEPT_LINE_BYTES]))


def _decode(line: bytes) -> str:
    return line.decode(errors="backslashreplace")


def _discard(line: str) -> None:
    """Discard a line, while there is no sink."""
