"""Keeps the journal and ``status.json`` for a running agent, which never waits for a disk."""

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
"""What waits while the journal cannot be written; what comes behind that is lost."""

RETRY_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""How long an answer waits for the disk."""
LAST_SECONDS = 5.0
"""For what is left to write when the recorder is told to end."""

log = get_logger()


class Recorder:
    """Takes what happens, at once and in order; ``run`` writes it.

    Args:
        state_dir: where; it may be full, read-only or gone for a time.

    Attributes:
        written: set when there may be more in the files; by then another is in its place.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._journal = Journal(state_dir / journal.NAME)
        self._lines: deque[bytes] = deque()
        self._lines_bytes = 0
        self._lost = 0
        self._status: Mapping[str, object] | None = None
        self._kept: dict[str, bytes | None] = {}
        self._failing: dict[str, str] = {}
        self._told = 0
        self._written = 0
        self._last_status: Mapping[str, object] | None = None
        self.written = trio.Event()
        self._observers: list[Callable[[str, Mapping[str, object]], None]] = []
        self._wake = trio.Event()
        self._is_ending = False
        self._one_thread = trio.CapacityLimiter(1)

    def observe(self, observer: Callable[[str, Mapping[str, object]], None]) -> None:
        """Tell ``observer`` the name and the fields of each event, when it happens; it must neither wait nor raise."""
        self._observers.append(observer)

    def record(self, event: str, **fields: object) -> None:
        """Put an event in the journal.

        Args:
            event: its name.
            fields: ``generation`` and ``release`` come first; paths become strings.
        """
        for observer in self._observers:
            observer(event, fields)
        line = journal.encode(event, datetime.now(UTC), **fields)
        if len(self._lines) >= LINES_MAX or self._lines_bytes + len(line) > BYTES_MAX:
            self._lost += 1
            return
        self._lines.append(line)
        self._lines_bytes += len(line)
        self._call_on()

    def keep(self, name: str, data: bytes | None) -> None:
        """Make ``data`` the content of a file, for the next agent to read; of several before one is written, the last.

        Args:
            name: of a file in the state directory.
            data: None removes it.
        """
        self._kept.pop(name, None)
        self._kept[name] = data
        self._call_on()

    def publish(self, status: Mapping[str, object]) -> None:
        """Make this the status; of several before one is written, the last.

        Args:
            status: not to be changed any more.
        """
        self._status = self._last_status = status
        self._call_on()

    async def until_written(self) -> None:
        """Wait until all is written that was told so far; forever, where it cannot be."""
        told = self._told
        while self._written < told:
            await self.written.wait()

    async def settle(self) -> None:
        """Wait until all is written that was told so far, for two seconds at most, as the disk may fail."""
        with trio.move_on_after(SETTLE_SECONDS) as patience:
            await self.until_written()
        if patience.cancelled_caught:
            log.warning("an answer is given before the files have what it is about", seconds=SETTLE_SECONDS)

    def _call_on(self) -> None:
        self._told += 1
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, then what is left, for five seconds at the most."""
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
        """One round: a reader who has seen an event finds what is kept and a status that are not older."""
        current, self._status = self._status, None
        kept, lines, told = dict(self._kept), tuple(self._lines), self._told
        failing = dict(self._failing)
        kept_now, is_told, written = await trio.to_thread.run_sync(
            self._write_files, kept, current, lines, abandon_on_cancel=True, limiter=self._one_thread
        )
        for name in kept_now:
            if self._kept[name] is kept[name]:
                del self._kept[name]
        if not is_told and self._status is None:
            self._status = current
        for _ in range(written):
            self._lines_bytes -= len(self._lines.popleft())
        if len(kept_now) == len(kept) and is_told and written == len(lines):
            self._written = told
        if failing != self._failing and self._status is None:  # the status says so
            self._status = self._last_status
            self._wake.set()
        now, self.written = self.written, trio.Event()
        now.set()
        if self._lost and not self._lines:
            log.warning("events are missing in the journal, which could not be written in time", events=self._lost)
            self._lost = 0

    # --- in a worker thread ---------------------------------------------------------------------------------

    def _write_files(
        self, kept: Mapping[str, bytes | None], current: Mapping[str, object] | None, lines: Sequence[bytes]
    ) -> tuple[list[str], bool, int]:
        """What is kept now, whether the status is written, and how many lines are; the status comes first."""
        is_told = current is None or self._attempt(status.NAME, partial(self._write_status, current))
        kept_now = [name for name, data in kept.items() if self._attempt(name, partial(self._keep, name, data))]
        for written, line in enumerate(lines):
            if not self._attempt(journal.NAME, partial(self._journal.append, line)):
                return kept_now, is_told, written
        return kept_now, is_told, len(lines)

    def _write_status(self, current: Mapping[str, object]) -> None:
        status.write(self._state_dir, with_failures(current, self._failing))

    def _keep(self, name: str, data: bytes | None) -> None:
        path = self._state_dir / name
        if data is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(path, data)

    def _attempt(self, name: str, write: Callable[[], None]) -> bool:
        """Whether it went well; what is wrong is said once until it is well again."""
        try:
            write()
        except OSError as error:
            if name not in self._failing:
                self._failing[name] = error.strerror or str(error)
                log.warning("cannot be written, trying on", file=self._state_dir / name, why=error.strerror)
            return False
        if name in self._failing:
            del self._failing[name]
            log.info("can be written again", file=self._state_dir / name)
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
