"""An app's output as plain text: without control characters and escape sequences."""

from __future__ import annotations

import re
import unicodedata

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # a control sequence, such as a colour
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"  # such as a window title
    r"|\x1b[ -/]*[0-~]?"
)
"""ECMA-48 sections 5.3 to 5.6, and BEL as the end of a string, as in xterm; a string without an end is kept.

No alternative reads past the beginning of another sequence, so matching takes linear time.
"""
_UNUSUAL = re.compile(r"[^\t\x20-\x7e]")


def without_escapes(text: str) -> str:
    """Return ``text`` without terminal escape sequences."""
    return text if text.isprintable() else _ESCAPE_SEQUENCE.sub("", text)


def escape_control(text: str) -> str:
    """Return ``text`` on one line, with every control character except tabs written as an escape."""
    return text if text.isprintable() else _UNUSUAL.sub(_escape, text)


def plain(text: str) -> str:
    """Return one line of an app's output as people should see it: no escape sequences, control characters escaped.

    If the line was overwritten several times, as by a progress bar, only its last state is returned.
    """
    return escape_control(without_escapes(text).rstrip("\r").rpartition("\r")[2])


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    is_space = unicodedata.category(character) == "Zs"  # also wide and unbreakable ones
    is_escape = is_space or character.isprintable()
    return character if is_escape else character.encode("unicode_escape").decode()
