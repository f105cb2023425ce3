"""Text of an app as plain text: without what a terminal would obey."""

from __future__ import annotations

import re
import unicodedata

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # a control sequence, such as a colour
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"  # such as a window title
    r"|\x1b[ -/]*[0-~]?"
)
"""ECMA-48 sections 5.3 to 5.6, and BEL as the end of a string, as xterm has it; a string without an end is kept.

No alternative reads over the beginning of another sequence, so the time is in proportion to the length.
"""
_UNUSUAL = re.compile(r"[^\t\x20-\x7e]")


def without_escapes(text: str) -> str:
    """Return ``text`` without escape sequences."""
    return text if text.isprintable() else _ESCAPE_SEQUENCE.sub("", text)


def inert(text: str) -> str:
    """Return text that a terminal shows and does not obey, in one line: controls but tabs are written as escapes."""
    return text if text.isprintable() else _UNUSUAL.sub(_shown, text)


def plain(text: str) -> str:
    """Return one line of an app for people: without escape sequences, with tabs, and inert.

    Of a line that was written over itself, such as a progress bar, the last state is left.
    """
    return inert(without_escapes(text).rstrip("\r").rpartition("\r")[2])


def _shown(match: re.Match[str]) -> str:
    one = match[0]
    is_space = unicodedata.category(one) == "Zs"  # also wide and unbreakable ones
    return one if one.isprintable() or is_space else one.encode("unicode_escape").decode()
