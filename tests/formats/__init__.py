"""What each format of rainbowd's files was, as it was written: what was released once is read for ever."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
FORMATS = sorted(int(entry.name) for entry in HERE.iterdir() if entry.name.isdigit())


def written(version: int, name: str) -> Path:
    """A file as that format had it."""
    return HERE / str(version) / name
