"""The writer of the journal and ``status.json`` of a running agent, which itself never waits for a disk."""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger
from rainbowd.report import journal, status
from rainbowd.report.journal import Journal
from rainbowd.report.sentences import WARNINGS, fill
from rainbowd.report.state_dir import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LINES_MAX = 10_000
BYTES_MAX = 8 << 20
"""The bounds of the queue while the journal cannot be written; further events are lost."""

RETRY_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""How long an answer waits for the disk, in ``settle``."""
LAST_SECONDS = 5.0
"""How long the last writes may take after ``run`` was cancelled."""

log = get_logger()


class Recorder:
    """A queue of events, files and the status, which accepts them at once; ``run`` writes them in order.

    Args:
        state_dir: the directory of the files; it may be full, read-only or missing for a time.

    Attributes:
        status_source: returns the present status; None if another agent publishes its own. It is asked once before each
            write, if the status has changed.
        written: set after each write, and then replaced by a new event.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._journal = Journal(state_dir / journal.NAME)
        self._lines: deque[bytes] = deque()
        self._lines_bytes = 0
        self._lost = 0
        self.status_source: Callable[[], Mapping[str, object] | None] = lambda: None
        self._status: Mapping[str, object] | None = None
        self._has_status_changed = False
        self._files: dict[str, Callable[[], bytes] | None] = {}
        self._failing: dict[str, str] = {}
        self._queued = 0
        self._written = 0
        self.written = trio.Event()
        self._observers: list[Callable[[str, Mapping[str, object]], None]] = []
        self._wake = trio.Event()
        self._is_ending = False
        self._one_thread = trio.CapacityLimiter(1)

    def observe(self, observer: Callable[[str, Mapping[str, object]], None]) -> None:
        """Call ``observer`` with the name and the fields of each event, when it happens; it must not wait or raise."""
        self._observers.append(observer)

    def record(self, event: str, **fields: object) -> None:
        """Queue an event for the journal, and a status that is not older.

        Args:
            event: the event's name.
            fields: ``generation`` and ``release`` come first; paths become strings.
        """
        self.status_changed()
        for observer in self._observers:
            observer(event, fields)
        line = journal.encode(event, datetime.now(UTC), **fields)
        if len(self._lines) >= LINES_MAX or self._lines_bytes + len(line) > BYTES_MAX:
            self._lost += 1
            return
        self._lines.append(line)
        self._lines_bytes += len(line)

    def store(self, name: str, encode: Callable[[], bytes] | None) -> None:
        """Queue the content of a file, for the next agent to read; only the last content of a file is written.

        Args:
            name: of a file in the state directory.
            encode: returns the content, when it is written; None removes the file.
        """
        self._files.pop(name, None)
        self._files[name] = encode
        self._notify()

    def status_changed(self) -> None:
        """Queue the present status for ``status.json``, which is built when it is written."""
        self._has_status_changed = True
        self._notify()

    def build_status(self) -> None:
        """Build the status now if it has changed; it is written next, whatever the source returns later."""
        if self._has_status_changed:
            self._has_status_changed = False
            try:
                found = self.status_source()
                self._status = self._status if found is None else found
            except Exception as bug:
                log.error("bug: building the status broke", exc_info=bug)

    async def until_written(self) -> None:
        """Wait until everything queued so far is written; forever, if the disk keeps failing."""
        queued = self._queued
        while self._written < queued:
            await self.written.wait()

    async def settle(self) -> None:
        """Wait until everything queued so far is written, for at most two seconds, because the disk may fail."""
        with trio.move_on_after(SETTLE_SECONDS) as patience:
            await self.until_written()
        if patience.cancelled_caught:
            log.warning("an answer was sent before the files are up to date", seconds=SETTLE_SECONDS)

    def _notify(self) -> None:
        self._queued += 1
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, and then write the rest, for at most five seconds."""
        shield = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_writing, shield)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                shield.deadline = trio.current_time() + LAST_SECONDS
                self._is_ending = True
                self._wake.set()

    async def _keep_writing(self, shield: trio.CancelScope) -> None:
        with shield:
            while True:
                is_last = self._is_ending
                self._wake = trio.Event()
                await self._write()
                if is_last:
                    return
                with trio.move_on_after(RETRY_SECONDS if self._failing else math.inf):
                    await self._wake.wait()

    async def _write(self) -> None:
        """Write everything queued; a reader who has seen an event finds a status and files that are not older."""
        self.build_status()
        current, self._status = self._status, None
        files, lines, queued = dict(self._files), tuple(self._lines), self._queued
        contents = {name: None if encode is None else encode() for name, encode in files.items()}
        failing = dict(self._failing)
        stored, has_status, written = await trio.to_thread.run_sync(
            self._write_files, contents, current, lines, abandon_on_cancel=True, limiter=self._one_thread
        )
        for name in stored:
            if self._files[name] is files[name]:
                del self._files[name]
        self._has_status_changed |= not has_status
        for _ in range(written):
            self._lines_bytes -= len(self._lines.popleft())
        if len(stored) == len(files) and has_status and written == len(lines):
            self._written = queued
        if failing != self._failing:  # the status has a warning about it
            self._has_status_changed = True
            self._wake.set()
        now, self.written = self.written, trio.Event()
        now.set()
        if self._lost and not self._lines:
            log.warning("events are missing in the journal, which could not be written in time", events=self._lost)
            self._lost = 0

    # --- in a worker thread ---------------------------------------------------------------------------------

    def _write_files(
        self, files: Mapping[str, bytes | None], current: Mapping[str, object] | None, lines: Sequence[bytes]
    ) -> tuple[list[str], bool, int]:
        """Write the status, the files and the lines, in this order.

        Returns:
            The names of the files, whether the status was written, and how many lines were.
        """
        has_status = current is None or self._attempt(status.NAME, partial(self._write_status, current))
        stored = [name for name, data in files.items() if self._attempt(name, partial(self._store, name, data))]
        for written, line in enumerate(lines):
            if not self._attempt(journal.NAME, partial(self._journal.append, line)):
                return stored, has_status, written
        return stored, has_status, len(lines)

    def _write_status(self, current: Mapping[str, object]) -> None:
        status.write(self._state_dir, with_failures(current, self._failing))

    def _store(self, name: str, data: bytes | None) -> None:
        path = self._state_dir / name
        if data is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(path, data)

    def _attempt(self, name: str, write: Callable[[], None]) -> bool:
        """Return whether a write succeeded; log the first failure, and the first success after it."""
        try:
            write()
        except OSError as error:
            if name not in self._failing:
                self._failing[name] = error.strerror or str(error)
                log.warning(
                    "cannot write a file of the state directory; retrying",
                    file=self._state_dir / name,
                    error=error.strerror,
                )
            return False
        if name in self._failing:
            del self._failing[name]
            log.info("a file of the state directory can be written again", file=self._state_dir / name)
        return True


def with_failures(current: Mapping[str, object], failing: Mapping[str, str]) -> Mapping[str, object]:
    """Return the status with a warning for each file that cannot be written.

    Args:
        current: the status.
        failing: the names of the files in the state directory, each with the reason.
    """
    if not failing:
        return current
    before = current.get("warnings")
    texts = [fill(WARNINGS["disk"], {"file": name, "reason": reason}) for name, reason in failing.items()]
    found = [*(before if isinstance(before, list) else []), *({"kind": "disk", "text": text} for text in texts)]
    return {**current, "warnings": found}
