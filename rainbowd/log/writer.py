"""The bounded queue of log lines, and the thread that writes them."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LINES_MAX = 10_000
BYTES_MAX = 8 << 20
"""The bounds of a queue; the thread may hold as much again while it writes."""


class Writer:
    """A bounded queue of lines, and a thread that writes them to a place that may be slow, full or gone.

    Args:
        write: writes bytes and returns how many it wrote; fewer than given is a failure.  The thread calls it, so it
            may block.
        format_lost: returns the line that is written instead of a given number of lost lines.
    """

    def __init__(self, write: Callable[[bytes], int], format_lost: Callable[[int], bytes]) -> None:
        self._write = write
        self._format_lost = format_lost
        self._changed = threading.Condition()  # its lock may be taken twice: a destructor may log too
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._missed = 0
        self._writing = False
        self._thread: threading.Thread | None = None
        _writers.append(self)

    def put(self, line: bytes) -> None:
        """Queue a line with its newline; if there is no room, count it as lost."""
        if sys.is_finalizing():  # the thread may have been ended with the lock in its hands
            return
        with self._changed:
            has_room = len(self._waiting) < LINES_MAX and self._waiting_bytes + len(line) <= BYTES_MAX
            if not (has_room and self._has_thread()):
                self._missed += 1
                return
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            if len(self._waiting) == 1:  # otherwise the thread was notified already
                self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until the queue is empty and written; return whether it was in time."""
        if sys.is_finalizing():
            return False
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._writing), timeout_seconds)

    def _has_thread(self) -> bool:
        """Start the thread with the first line; return whether it runs."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, by a limit or because the interpreter shuts down
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        # SIGPIPE must not kill the agent, and SIGTTOU (a background job, stty tostop) must not stop it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        lost, works, is_torn = 0, True, False
        while True:
            lines, missed = self._take(wait=not (lost and works))
            head = self._format_lost(lost) if lost else b""
            if is_torn:
                head = b"\n" + head
            data = head + b"".join(lines)
            written = self._write(data)
            works = written == len(data)
            if written:
                is_torn = data[written - 1 : written] != b"\n"
            still_lost = lost if written < len(head) else 0
            lost = still_lost + data[max(written, len(head)) :].count(b"\n") + missed

    def _take(self, *, wait: bool) -> tuple[list[bytes], int]:
        """Return all queued lines, and how many were lost after them because the queue was full."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while wait and not self._waiting:
                self._changed.wait()
            self._writing = True
            taken = self._waiting, self._missed
            self._waiting, self._waiting_bytes, self._missed = [], 0, 0
            return taken


def flush(timeout_seconds: float) -> bool:
    """Wait until all writers' earlier lines are written or dropped; return whether they were in time."""
    deadline = time.monotonic() + timeout_seconds
    done = [writer.flush(max(0.0, deadline - time.monotonic())) for writer in list(_writers)]
    return all(done)


def write(fd: int, data: bytes) -> tuple[int, str | None]:
    """Write until all bytes are written or a write fails.

    Returns:
        How many bytes were written, and the system's error message (None if all were written).
    """
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


_writers: list[Writer] = []
