"""The companion processes that an earlier agent recorded in the state directory."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.deploy.companion_interfaces import Instance, RecordedCompanion
from rainbowd.deploy.companion_record import CompanionRecord
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.state_files import read_plan, read_state_file
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.deploy.process import Launch, LaunchMarks, ProcessTree
from rainbowd.deploy.process.process_identity import boot_id
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rainbowd.deploy.host.state_files import Launched

_OF_COMPANION = re.compile(
    r"generation-([1-9]\d{0,17})-([A-Za-z0-9][\w-]*\.[1-9]\d*-[0-9a-f]{8})(?:\.json|\.out|\.plan|\.boot)?(?:\.new)?"
)

log = get_logger()


class StoredCompanion(NamedTuple):
    """A companion process on record, with its files and the marks of its processes."""

    files: GenerationFiles
    record: CompanionRecord
    marks: LaunchMarks


class StoredCompanions:
    """The records of companion processes in the state directory.

    Args:
        state_dir: the state directory, resolved.
        config_file: that relative paths of a recorded config are relative to.
    """

    def __init__(self, state_dir: Path, config_file: Path) -> None:
        self._state_dir = state_dir
        self._config_file = config_file
        self._found: dict[str, StoredCompanion] = {}
        self._stale: list[GenerationFiles] = []

    def read(self) -> list[RecordedCompanion]:
        """Return the companion processes that an earlier agent recorded during this boot of the machine."""
        self._found, self._stale = {}, []
        return list(self._read())

    def files_of(self, recorded: RecordedCompanion) -> StoredCompanion:
        """Return the files and the record of a companion process that ``read`` has returned."""
        return self._found[recorded.launch]

    def processes_of(self, recorded: RecordedCompanion) -> ProcessTree:
        """Return the processes of a companion process that ``read`` has returned."""
        stored = self.files_of(recorded)
        process = ProcessTree.found(stored.record.identity, stored.marks, stored.record.known)
        process.launch.generation = stored.record.owner
        return process

    def launches(self) -> list[Launch]:
        """Return the evidence by which the processes on record are found."""
        return [Launch.of(one.record.identity, one.marks, one.record.known.items()) for one in self._found.values()]

    def clear_stale(self) -> None:
        """Remove the files that ``read`` has found and that belong to no process; call it in a thread.

        Files that were made since then belong to this agent.
        """
        for files in self._stale:
            try:
                files.clear()
                for file in files.all:
                    file.with_name(f"{file.name}.new").unlink(missing_ok=True)  # of a write that was interrupted
            except OSError as error:
                log.warning("cannot remove the files of an earlier agent", file=error.filename, error=error.strerror)

    def _all(self) -> Iterator[GenerationFiles]:
        found = {match.groups() for path in self._state_dir.iterdir() if (match := _OF_COMPANION.fullmatch(path.name))}
        for generation_id, companion in sorted(found):
            yield GenerationFiles(self._state_dir, int(generation_id), companion)

    def _read(self) -> Iterator[RecordedCompanion]:
        for files in self._all():
            record = read_state_file(files.record, CompanionRecord.decode, "the process is ended and started again")
            launched = read_plan(files.source, self._config_file)
            if record is None or launched is None or launched.marks is None or not self._is_ours(record, launched):
                self._stale.append(files)
                continue
            recorded = _describe(record, launched, files.directory.name)
            self._found[recorded.launch] = StoredCompanion(files, record, launched.marks)
            yield recorded

    def _is_ours(self, record: CompanionRecord, launched: Launched) -> bool:
        """Return whether a record is of this boot, this state directory, and a process of its config."""
        is_here = (record.identity.state_dir, record.identity.boot_id) == (str(self._state_dir), boot_id())
        return is_here and record.name in launched.config.processes


def _describe(record: CompanionRecord, launched: Launched, launch: str) -> RecordedCompanion:
    asked_seconds = record.asked_seconds
    return RecordedCompanion(
        instance=Instance(record.name, record.instance),
        launch=launch,
        plan=LaunchPlan(Path(record.identity.release), launched.config, launched.env_file, launched.source),
        generation_id=record.owner,
        started_at=record.started_at,
        restarts=record.restarts,
        asked_for_seconds=None if asked_seconds is None else max(0.0, time.monotonic() - asked_seconds),
    )
