"""The generations' numbers: from 1, none given twice in a state directory."""

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
    """Gives out numbers, and keeps the last one in a file.

    Args:
        state_dir: one that nobody else gives out numbers for.

    Attributes:
        last: the highest that was given out; 0 where none was.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self._state_dir = state_dir
        self.last = 0
        self.look()

    def look(self) -> None:
        """See what was given out by another agent meanwhile."""
        self.last = max(_noted(self._state_dir), *_seen_in_names(self._state_dir), self.last)

    def next(self) -> int:
        """A number that was never given before."""
        self.last += 1
        self.note()
        return self.last

    def note(self) -> None:
        """Write down the last one."""
        try:
            replace_file(self._path, b"%d\n" % self.last)
        except OSError as error:
            log.warning("a generation's number cannot be noted", file=self._path, why=error.strerror)


def _noted(state_dir: Path) -> int:
    """The last number by its file, or where that is lost by the journal."""
    try:
        with open_to_read(state_dir / NAME) as file:
            return int(file.read())
    except (OSError, ValueError):
        return max(_seen_in_journal(state_dir), default=0)


def _seen_in_journal(state_dir: Path) -> Iterator[int]:
    for event in read_events(state_dir):
        number = event.get("generation")
        if isinstance(number, int):
            yield number


def _seen_in_names(state_dir: Path) -> list[int]:
    """Numbers of which there are files: one that could not be noted may be among them."""
    matches = (_FILE_OF_GENERATION.fullmatch(entry.name) for entry in state_dir.iterdir())
    return [int(match[1]) for match in matches if match]
