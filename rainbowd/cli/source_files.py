"""The source files of an app, which are read to guess what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.json_file import open_regular

if TYPE_CHECKING:
    from pathlib import Path

SKIPPED = {"node_modules", "venv", ".venv", "vendor", ".git", "tests", "test", "spec"}
FILE_BYTES = 100_000


def files_near_top(release: Path, pattern: str) -> list[Path]:
    """Return the files that match ``pattern``, at the top of a release and in its directories."""
    below = (file for file in sorted(release.glob(f"*/{pattern}")) if file.parent.name not in SKIPPED)
    return [*sorted(release.glob(pattern)), *below]


def src_layout_files(release: Path, pattern: str) -> list[Path]:
    """Return the files that match ``pattern`` in the packages of a src layout."""
    return [file for file in sorted((release / "src").glob(f"*/{pattern}")) if file.parent.name not in SKIPPED]


def read_source(file: Path) -> str:
    """Return the beginning of a text file; empty if it cannot be read."""
    try:
        with open_regular(file) as source:
            return source.read(FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""
