"""What a terminal is shown: text that it does not obey, and colours where there are any; or a pipe, or nobody."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from rainbowd.plain_text import plain
from rainbowd.report.palette import foreground

if TYPE_CHECKING:
    from collections.abc import Callable

    Paint = Callable[[str, str], str]

GREEN, YELLOW, RED, DIM, BOLD = "32", "33", "31", "2", "1"

STDOUT, STDERR = 1, 2

SUPERSEDED = "superseded by "
"""How the reason begins of a deploy in whose place another release was asked for."""
RESULT_STYLES: dict[str | None, str] = {"succeeded": GREEN, "rolled_back": GREEN, "failed": RED, None: YELLOW}

MINUTE, HOUR, DAY = 60, 3600, 86400


def escape_control(value: object) -> str:
    """Text that a terminal shows and does not obey, in one line, and that any terminal's encoding has."""
    text = str(value)
    if not text.isprintable():
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return escape_unencodable(text)


def escape_unencodable(text: str) -> str:
    """Return text with escapes for the letters that the encoding of the output does not have."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def printable(line: str) -> str:
    """Return a line of a program's output as a terminal shows it: inert, without escape sequences, with its tabs.

    Of a line that was written over itself, such as a progress bar, the last state is left.
    """
    return escape_unencodable(plain(line))


def is_output_shared() -> bool:
    """Return whether stdout and stderr are the same file, pipe or terminal, so that a reader of one sees both."""
    try:
        return os.path.sameopenfile(STDOUT, STDERR)
    except OSError:
        return False


def is_coloured() -> bool:
    """Whether stdout is a terminal that has colours, and whose user wants them; see no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def open_closed_stdio() -> None:
    """Have stdin, stdout and stderr lead nowhere where they are closed: another file would get their numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()


def print_line(line: str) -> None:
    """Print a line while more matters than who reads it: a reader who has gone misses the rest."""
    try:
        print(line, flush=True)
    except OSError:  # EPIPE of a pipe, EIO of a terminal that was hung up
        sys.stdout = _nowhere()


def print_error(line: object) -> None:
    """Print a message on stderr in the same way, inert; what is done after it is done also if nobody reads it."""
    _print_error(f"rainbowd: {escape_control(line)}")


def print_quoted(line: object) -> None:
    """Print a line of a program's output on stderr, below the message that it belongs to."""
    _print_error(f"    {printable(str(line))}")


def _print_error(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = _nowhere()


def _nowhere() -> TextIO:
    return open(os.devnull, "w", errors="replace")  # noqa: PTH123 - for the rest of the process


def painter() -> Paint:
    """What puts text in a style, the parameters of SGR, where there are colours."""
    if is_coloured():
        return lambda style, text: f"\x1b[{style}m{text}\x1b[0m" if style else text
    return lambda _style, text: text


def generation_style(generation: int) -> str:
    """The style of a generation's own colour."""
    return foreground(generation, is_true_colour=os.environ.get("COLORTERM") in {"truecolor", "24bit"})


def align_columns(rows: list[list[str]], numbers: set[str]) -> list[str]:
    """The lines of a table.

    Args:
        rows: the header first.
        numbers: the columns that are flush right, by their headers.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(rows[0], row, widths, strict=True)
        padded = (cell.rjust(width) if name in numbers else cell.ljust(width) for name, cell, width in cells)
        lines.append("  ".join(padded).rstrip())
    return lines


def describe_result(
    result: str | None, reason: str | None, back: str | None, *, is_rollback: bool = False
) -> tuple[str, str]:
    """Return the result of a deploy for people, and its style.

    A deploy that another one superseded is no failure: nothing is known against its release.

    Args:
        result: as the journal's history has it; None while it is undecided.
        reason: of a failure.
        back: the release that a rollback went back to; None if that is not known.
        is_rollback: it went back, also if that took a launch.
    """
    if result == "failed" and (reason or "").startswith(SUPERSEDED):
        return "superseded", YELLOW
    if result == "rolled_back" or (is_rollback and result == "succeeded"):
        return f"rolled back to {escape_control(release_name(back))}" if back else "rolled back", GREEN
    return escape_control(result or "undecided").replace("_", " "), RESULT_STYLES.get(result, "")


def release_name(path: str) -> str:
    """A release's short name."""
    return os.path.basename(path) or path  # noqa: PTH119 - pathlib is not needed for this


def ago(since: str) -> str:
    """How long ago a time in RFC 3339 was, in its two largest units."""
    seconds = max(0, int(time.time() - datetime.fromisoformat(since).timestamp()))
    if seconds >= DAY:
        return f"{seconds // DAY}d {seconds % DAY // HOUR}h"
    if seconds >= HOUR:
        return f"{seconds // HOUR}h {seconds % HOUR // MINUTE}m"
    if seconds >= MINUTE:
        return f"{seconds // MINUTE}m {seconds % MINUTE}s"
    return f"{seconds}s"
