"""Output on a terminal or a pipe: text without control characters, colours, tables, and closed outputs."""

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
INTERRUPTED = 130
"""The exit status after Ctrl-C, as in a shell: 128 + SIGINT."""

SUPERSEDED = "superseded by "
"""The beginning of the reason if another release was requested before the deploy finished."""
RESULT_STYLES: dict[str | None, str] = {"succeeded": GREEN, "rolled_back": GREEN, "failed": RED, None: YELLOW}

MINUTE, HOUR, DAY = 60, 3600, 86400


def escape_control(value: object) -> str:
    """Return a value as one line of text without control characters, in the encoding of the output."""
    text = str(value)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return escape_unencodable(text)


def escape_unencodable(text: str) -> str:
    """Return text in which characters that the output's encoding does not have are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def printable(line: str) -> str:
    """Return a line of a program's output without escape sequences; tabs are kept.

    If a line was overwritten by carriage returns, such as a progress bar, its last state is returned.
    """
    return escape_unencodable(plain(line))


def is_output_shared() -> bool:
    """Return whether stdout and stderr are the same file, pipe or terminal."""
    try:
        return os.path.sameopenfile(STDOUT, STDERR)
    except OSError:
        return False


def terminal_columns() -> int | None:
    """Return the width of the terminal that stdout is; None for a file or a pipe, or if it is unknown."""
    try:
        return os.get_terminal_size(STDOUT).columns or None
    except OSError:
        return None


def is_coloured() -> bool:
    """Return whether stdout is a terminal with colours, and the user wants them: see no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def open_closed_stdio() -> None:
    """Open /dev/null as stdin, stdout or stderr if they are closed: another file would get their numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdout, sys.stderr = sys.stdout or _open_devnull(), sys.stderr or _open_devnull()


def print_line(line: str) -> None:
    """Print a line; if the reader of stdout has gone, discard this line and all later output."""
    try:
        print(line, flush=True)
    except OSError:  # EPIPE for a pipe, EIO for a terminal that was hung up
        sys.stdout = _open_devnull()


def print_error(line: object) -> None:
    """Print a message on stderr; if its reader has gone, discard this message and all later ones."""
    _print_error(f"rainbowd: {escape_control(line)}")


def print_quoted(line: object) -> None:
    """Print a line of a program's output on stderr, indented below the message that it belongs to."""
    _print_error(f"    {printable(str(line))}")


def _print_error(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = _open_devnull()


def _open_devnull() -> TextIO:
    return open(os.devnull, "w", errors="replace")  # noqa: PTH123 - for the rest of the process


def painter() -> Paint:
    """Return a function that puts text in a style, given as SGR parameters, if the output has colours."""
    if is_coloured():
        return lambda style, text: f"\x1b[{style}m{text}\x1b[0m" if style else text
    return lambda _style, text: text


def generation_style(generation: int) -> str:
    """Return the style of a generation's colour."""
    return foreground(generation, is_true_colour=os.environ.get("COLORTERM") in {"truecolor", "24bit"})


def align_columns(rows: list[list[str]], numbers: set[str]) -> list[str]:
    """Return the lines of a table.

    Args:
        rows: the cells of each row, the header first.
        numbers: the headers of the columns that are aligned to the right.
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

    A deploy that was superseded has not failed: nothing was wrong with its release.

    Args:
        result: the result in the history; None while the deploy is running.
        reason: why the deploy failed.
        back: the release that a rollback went back to; None if unknown.
        is_rollback: the deploy was a rollback, even if it needed a launch.
    """
    if result == "failed" and (reason or "").startswith(SUPERSEDED):
        return "superseded", YELLOW
    if result == "rolled_back" or (is_rollback and result == "succeeded"):
        return f"rolled back to {escape_control(release_name(back))}" if back else "rolled back", GREEN
    return escape_control(result or "undecided").replace("_", " "), RESULT_STYLES.get(result, "")


def release_name(path: str) -> str:
    """Return the short name of a release, the last part of its path."""
    return os.path.basename(path) or path  # noqa: PTH119 - pathlib is not needed for this


def ago(since: str) -> str:
    """Return how long ago ``since`` was, a time in RFC 3339, in its two largest units."""
    seconds = max(0, int(time.time() - datetime.fromisoformat(since).timestamp()))
    if seconds >= DAY:
        return f"{seconds // DAY}d {seconds % DAY // HOUR}h"
    if seconds >= HOUR:
        return f"{seconds // HOUR}h {seconds % HOUR // MINUTE}m"
    if seconds >= MINUTE:
        return f"{seconds // MINUTE}m {seconds % MINUTE}s"
    return f"{seconds}s"
