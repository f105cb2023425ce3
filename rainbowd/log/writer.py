"""Lines on their way to a place that may be slow, full or gone."""

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
"""What a queue holds; as much again may be on its way out."""


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


def flush(timeout_seconds: float) -> bool:
    """Wait until everything said before is written or dropped; False if that was not so in time."""
    deadline = time.monotonic() + timeout_seconds
    done = [writer.flush(max(0.0, deadline - time.monotonic())) for writer in list(_writers)]
    return all(done)


def write(fd: int, data: bytes) -> tuple[int, str | None]:
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


_writers: list[Writer] = []
