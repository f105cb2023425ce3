"""Noticing that the files request a deploy: events trigger a comparison, and the comparison finds the changes.

Inotify stops when a directory is replaced, loses events silently when its queue overflows, has limits, and does not
exist on some file systems.  So the files are also compared twice a second.
"""

from __future__ import annotations

import os.path
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio
from watchfiles import awatch

from rainbowd.deploy.cancellation import set_when_cancelled
from rainbowd.deploy.watch import file_state
from rainbowd.deploy.watch.file_state import (
    FileState,
    TriggerNote,
    baseline,
    is_transient,
    link_changed,
    trigger_touched,
)
from rainbowd.deploy.watch.regular_file import find_files
from rainbowd.deploy.watch.unstamped_touches import UnstampedTouches
from rainbowd.log import get_logger
from rainbowd.permissions import user_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rainbowd.deploy.rollout_part import RolloutPart
    from rainbowd.deploy.watch.regular_file import FoundFile, WatchedFiles

COMPARE_SECONDS = 0.5
TRANSIENT_SECONDS = 0.1
SETTLE_SECONDS = 0.01
"""At least a tick of the clock that stamps files (10 ms at HZ=100): a later change has a later mtime."""
LINK_SECONDS = 1.0
REOPEN_SECONDS = 0.1
RETRY_SECONDS = 30.0

T = TypeVar("T")

log = get_logger()


@dataclass(frozen=True, slots=True)
class Trigger:
    """A request for a deploy.

    Attributes:
        kind: ``symlink``, ``file``, ``start``, ``signal``, ``api`` or ``fleet``.
        note: the deployer's own words.
        by: the owner of the new link or of the trigger file, or the caller of the API.
        request: by which the requester recognises its own deploy; the link then points to the requested release.
        is_rollback: whether it requests a rollback.
        is_now: whether it requests to skip canary and bake.
        rollout: the part of a fleet's rollout that it is; None if it is none.
    """

    kind: str
    note: str | None = None
    by: str | None = None
    request: str | None = None
    is_rollback: bool = False
    is_now: bool = False
    rollout: RolloutPart | None = None


async def watch(
    release: Path,
    trigger_file: Path | None,
    report: Callable[[Trigger], object],
    *,
    seen: FileState | None = None,
    others: Sequence[WatchedFiles] = (),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Report every request for a deploy until cancelled; started when no later change can be missed.

    Args:
        release: the app's directory or a symlink to it, absolute and not resolved.
        trigger_file: what is touched to deploy; None if it is turned off.
        report: called once for each trigger; those seen together are reported without an await in between.
        seen: the state of the files at the last decided deploy; None for their present state.
        others: are compared at the same time.
        task_status: for ``nursery.start``.
    """
    watcher = _Watcher(release, trigger_file, others)
    (wake, woken), stop = trio.open_memory_channel[None](1), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_when_cancelled, stop)  # the thread that waits for events ends then
        if seen is None:
            seen, _ = await watcher.compare(None)
        nursery.start_soon(_wake_on_events, watcher, wake, stop)
        task_status.started()
        while True:
            before = seen
            seen, triggers = await watcher.compare(before)
            for trigger in triggers:
                report(trigger)
            if triggers:
                watcher.unstamped.reported()
            await watcher.compare_others()
            if seen == before:
                with trio.move_on_after(COMPARE_SECONDS):
                    await woken.receive()


@dataclass
class _Watcher:
    """The comparison of the files; disk access runs in threads, because a disk can hang."""

    release: Path
    trigger_file: Path | None
    others: Sequence[WatchedFiles] = ()
    is_failing: bool = False
    last_request: str | None = None  # the id of the last reported request
    unstamped: UnstampedTouches = field(init=False)
    found_others: dict[Path, FoundFile | None] | None = None

    def __post_init__(self) -> None:
        self.unstamped = UnstampedTouches(self.trigger_file)
        self._other_paths = [path for files in self.others for path in files.paths]
        self._moves_with_link = self.trigger_file is not None and self.trigger_file.is_relative_to(self.release)

    async def compare(self, seen: FileState | None) -> tuple[FileState | None, list[Trigger]]:
        """Return the state to compare with next (``seen`` again if reading fails), and the requests for a deploy."""
        try:
            before, now = await _on_disk(self._observe_since, seen)
            self.is_failing = False
            return (now, []) if before is None or before == now else await self._find_triggers(before, now)
        except OSError as error:
            if not self.is_failing:
                log.warning("cannot check the release link and trigger file; retrying", error=str(error))
            self.is_failing = True
            return seen, []

    async def _find_triggers(self, seen: FileState, now: FileState) -> tuple[FileState, list[Trigger]]:
        if self._moves_with_link and seen.release != now.release:
            seen = replace(seen, trigger=now.trigger)  # the file of another release, which nobody has touched
        if not (link_changed(seen, now) or trigger_touched(seen, now)):
            return baseline(seen, now), []
        now, note = await self._settled(seen, now)
        if seen.link is not None and now.link is None and now.release is not None:
            log.warning("the release is a directory now, and no command can point it elsewhere", release=self.release)
        if note.request is not None and note.request == self.last_request:
            note = TriggerNote()  # of an earlier deploy: someone touched the file that it left
        if trigger_touched(seen, now) and note.release is not None:
            now = await self._with_its_link(seen, now, self.release.parent / note.release)
        triggers = await _on_disk(_triggers, seen, now, note)
        if trigger_touched(seen, now):
            self.last_request = note.request or self.last_request
        return baseline(seen, now), triggers

    async def _settled(self, seen: FileState, now: FileState) -> tuple[FileState, TriggerNote]:
        """Observe until two states are equal and a transient state has lasted, for at most twice that time.

        The note is read between the last two observations, so it belongs to the trigger file that they saw.
        """
        start = since = trio.current_time()
        while True:
            note = await _on_disk(file_state.read_note, self.trigger_file) if self.trigger_file else TriggerNote()
            await trio.sleep(SETTLE_SECONDS)
            before, now, time = now, await self._observe(), trio.current_time()
            if not is_transient(seen, now):
                since = time
            has_lasted = since == time or time - since >= TRANSIENT_SECONDS
            if (now == before and has_lasted) or time - start >= 2 * TRANSIENT_SECONDS:
                return now, note

    async def _with_its_link(self, seen: FileState, noted: FileState, named: Path) -> FileState:
        """Wait until the link points to the release that the note names, which is part of the same request.

        If that does not happen before another note, changes of the link are left to the next comparison.
        """
        wanted = Path(await _on_disk(os.path.realpath, named))
        now = noted
        with trio.move_on_after(LINK_SECONDS):
            while now.trigger == noted.trigger:
                if link_changed(seen, now) and now.release == wanted:
                    return now
                await trio.sleep(SETTLE_SECONDS)
                now = await self._observe()
        return file_state.with_link_of(seen, noted)

    async def compare_others(self) -> None:
        found, now = await _on_disk(find_files, self._other_paths), trio.current_time()
        for files in self.others:
            if found != self.found_others or now >= files.due_at:
                files.compare(found, now)
        self.found_others = found

    async def directories(self) -> dict[Path, tuple[int, int]]:
        others = {path.parent for path in self._other_paths}
        return await _on_disk(file_state.watched_directories, self.release, self.trigger_file, others)

    def _observe_since(self, seen: FileState | None) -> tuple[FileState | None, FileState]:
        """Return the state to compare with, and the present one."""
        now = file_state.observe(self.release, self.trigger_file)
        return (None if seen is None else self.unstamped.without_trace(seen, now)), now

    async def _observe(self) -> FileState:
        return await _on_disk(file_state.observe, self.release, self.trigger_file)


async def _wake_on_events(watcher: _Watcher, wake: trio.MemorySendChannel[None], stop: trio.Event) -> None:
    """Wake the comparison at every event; a failure here only delays it."""
    has_warned = False
    while True:
        directories: dict[Path, tuple[int, int]] = {}
        try:
            directories = await watcher.directories()
            await _wake_until_changed(watcher, directories, wake, stop)
            has_warned = False
        except FileNotFoundError:
            pass  # It was removed before the watch began.
        except Exception as error:  # noqa: BLE001 - of several kinds, one of them private; none may end the watching
            if not has_warned:
                _warn_without_events(error)
            has_warned = True
            await _until_changed(watcher, directories)
        await trio.sleep(REOPEN_SECONDS)


async def _wake_until_changed(
    watcher: _Watcher, directories: dict[Path, tuple[int, int]], wake: trio.MemorySendChannel[None], stop: trio.Event
) -> None:
    """Wake at every event in ``directories`` until other directories must be watched or one was replaced."""
    if not directories:
        await _until_changed(watcher, directories)
        return
    events = awatch(
        *directories,
        watch_filter=None,
        recursive=False,
        step=10,
        debounce=100,
        rust_timeout=int(COMPARE_SECONDS * 1000),
        yield_on_timeout=True,
        stop_event=stop,
        force_polling=False,
    )
    async with aclosing(events):
        async for changes in events:
            if changes:
                if str(watcher.trigger_file) in {path for _, path in changes}:
                    watcher.unstamped.on_event()
                with suppress(trio.WouldBlock):
                    wake.send_nowait(None)
            is_replaced = any(Path(path) in directories for _, path in changes)  # the new one can have the same inode
            if is_replaced or await watcher.directories() != directories:
                return


async def _until_changed(watcher: _Watcher, directories: dict[Path, tuple[int, int]]) -> None:
    """Wait until other directories must be watched, or it is time to try again."""
    with trio.move_on_after(RETRY_SECONDS):
        while True:
            await trio.sleep(COMPARE_SECONDS)
            with suppress(OSError):
                if await watcher.directories() != directories:
                    return


def _warn_without_events(error: Exception) -> None:
    log.warning(
        "no events from the file system: files are compared twice a second instead",
        error=str(error),
        hint="if a limit is reached, raise fs.inotify.max_user_watches or fs.inotify.max_user_instances",
    )


async def _on_disk(read: Callable[..., T], *args: object) -> T:
    return await trio.to_thread.run_sync(read, *args, abandon_on_cancel=True)


def _triggers(seen: FileState, now: FileState, note: TriggerNote) -> list[Trigger]:
    """Return the requests to report; a change of the link that belongs to ``note`` is not one of its own."""
    found = []
    is_touched = trigger_touched(seen, now)
    if link_changed(seen, now) and not (is_touched and note.release is not None):
        found.append(Trigger("symlink", by=_user_name(now.link_owner)))
    if is_touched:
        by = _user_name(now.trigger_owner)
        found.append(
            Trigger("file", note.note, by, request=note.request, is_rollback=note.is_rollback, is_now=note.is_now)
        )
    return found


def _user_name(user_id: int | None) -> str | None:
    return None if user_id is None else user_name(user_id)
