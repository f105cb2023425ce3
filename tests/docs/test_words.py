"""The words of the documentation: what a script can hold of the style sheet in ``CONTRIBUTING.md``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "RELEASE.md", "CHANGELOG.md", "bench/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "deploy-hooks").rglob("*.md")),
]
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
ARCHAIC = re.compile(
    r"\b(whoever|anew|so many|at the most|any more|but for|be it|by then|beside"
    r"|what (?:is|was) live|(?:is|are|was|were|be) told(?! apart)|told to stop)\b",
    re.IGNORECASE,
)
PLACES = (
    "where clients connect",
    "where do environment variables",
    "where the app's own output goes",
    "where the app listens",
    "where nothing removes it",
    "where others can create files",
    "where it has put the passwords",
)
"""The uses of "where" for a place; a condition is "if" or "when"."""
BEHIND = re.compile(r"\bbehind (?!it\b|nginx\b|a CDN\b|the release link\b|the proxy\b|rainbowd\b)", re.IGNORECASE)
"""Not in space, and not of a proxy."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_archaic_words_and_uses_behind_only_for_space_and_proxies(page: Path) -> None:
    text = CODE.sub("", page.read_text())
    assert ARCHAIC.findall(text) == []
    assert BEHIND.findall(text) == []


def test_where_is_a_place_and_never_a_condition() -> None:
    texts = [re.sub(r"\s+", " ", CODE.sub("`code`", page.read_text())) for page in PAGES]
    uses = [text[use.start() : use.end() + 60] for text in texts for use in re.finditer(r"\b[Ww]here\b", text)]
    assert [use for use in uses if not use.lower().startswith(PLACES)] == []


def test_the_readme_stays_short_enough_for_a_first_look() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160
