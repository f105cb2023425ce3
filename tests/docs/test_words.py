"""The words of the documentation: what a script can hold of the style sheet in ``CONTRIBUTING.md``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md", "bench/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "deploy-hooks").rglob("*.md")),
]
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
ARCHAIC = re.compile(r"\b(whoever|anew|so many|at the most|any more|but for|be it)\b", re.IGNORECASE)
BEHIND = re.compile(r"\bbehind (?!it\b|nginx\b|a CDN\b|the release link\b|the proxy\b|rainbowd\b)", re.IGNORECASE)
"""Not in space, and not of a proxy."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_archaic_words_and_uses_behind_only_for_space_and_proxies(page: Path) -> None:
    text = CODE.sub("", page.read_text())
    assert ARCHAIC.findall(text) == []
    assert BEHIND.findall(text) == []
