"""The IDs of generations: numbers from 1, each used only once in a state directory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rainbowd.log import get_logger
from rainbowd.report.journal import read_events
from rainbowd.report.state_dir import open_to_read, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "generation"
_FILE_OF_GENERATION = re.compile(r"generation-(\d{1,18})(?:\.json|\.out|\.plan|\.boot)?")

log = get_logger()


class GenerationIds:
    """The source of new IDs, with the last one in a file.

    Args:
        state_dir: the directory of the file; no other agent may take IDs from it at the same time.

    Attributes:
        last: the highest ID that was used; 0 if there was none.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self._state_dir = state_dir
        self.last = 0
        self.refresh()

    def refresh(self) -> None:
        """Read the last ID again, after another agent may have used more."""
        self.last = max(_read_last(self._state_dir), *_ids_in_file_names(self._state_dir), self.last)

    def next(self) -> int:
        """Return an ID that was never used before."""
        self.last += 1
        self.save()
        return self.last

    def save(self) -> None:
        """Write the last ID to the file; log a warning if that fails."""
        try:
            replace_file(self._path, b"%d\n" % self.last)
        except OSError as error:
            log.warning("cannot save the last generation ID", file=self._path, error=error.strerror)


def _read_last(state_dir: Path) -> int:
    """Return the last ID from its file, or from the journal if the file is missing or damaged."""
    try:
        with open_to_read(state_dir / NAME) as file:
            return int(file.read())
    except (OSError, ValueError):
        return max(_ids_in_journal(state_dir), default=0)


def _ids_in_journal(state_dir: Path) -> Iterator[int]:
    for event in read_events(state_dir):
        generation = event.get("generation")
        if isinstance(generation, int):
            yield generation


def _ids_in_file_names(state_dir: Path) -> list[int]:
    """Return the IDs in the names of files, which may include one that could not be saved."""
    matches = (_FILE_OF_GENERATION.fullmatch(entry.name) for entry in state_dir.iterdir())
    return [int(match[1]) for match in matches if match]
