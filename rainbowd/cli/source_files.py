"""An app's own files, as far as they are read for a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.json_file import open_regular

if TYPE_CHECKING:
    from pathlib import Path

SKIPPED = {"node_modules", "venv", ".venv", "vendor", ".git", "tests", "test", "spec"}
FILE_BYTES = 100_000


def files_near_top(release: Path, pattern: str) -> list[Path]:
    """Files at the top, and one directory below."""
    below = (file for file in sorted(release.glob(f"*/{pattern}")) if file.parent.name not in SKIPPED)
    return [*sorted(release.glob(pattern)), *below]


def src_layout_files(release: Path, pattern: str) -> list[Path]:
    """Return the files of the packages of a src layout."""
    return [file for file in sorted((release / "src").glob(f"*/{pattern}")) if file.parent.name not in SKIPPED]


def read_source(file: Path) -> str:
    """The beginning of a text file; empty where there is none."""
    try:
        with open_regular(file) as source:
            return source.read(FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""
