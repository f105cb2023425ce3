"""What an app says until it is live, kept in a file for whoever waits for the deploy at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_BYTES = 1 << 16
"""Of what it says first; the log has all of it, and a failure's report the end."""


class StartupOutput:
    """The beginning of an app's output; it only grows, so that a reader goes on where it was.

    Args:
        keep: makes the bytes the file's content, soon.
    """

    def __init__(self, keep: Callable[[bytes], None]) -> None:
        self._keep = keep
        self._text = b""
        self._is_over = False

    def tell(self, line: str) -> None:
        """Add a line, without its end; one that would be too much, and all behind it, is left out."""
        data = plain(line).encode(errors="backslashreplace") + b"\n"
        self._is_over |= len(self._text) + len(data) > LIMIT_BYTES
        if not self._is_over:
            self._text += data
            self._keep(self._text)

    def end(self) -> None:
        """It is live, or never will be: the rest is nobody's concern."""
        self._is_over = True
