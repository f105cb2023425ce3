"""``rainbowd status --watch``: the status as it changes, on the terminal's alternate screen.

Below it are the latest events of the journal, in the same sentences as on the API's page.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from rainbowd.cli.agent_files import read_status
from rainbowd.cli.status_text import status_text
from rainbowd.cli.terminal import (
    DIM,
    GREEN,
    RED,
    YELLOW,
    escape_control,
    generation_style,
    painter,
    terminal_columns,
)
from rainbowd.errors import RainbowdError
from rainbowd.report.history import RESULTS
from rainbowd.report.sentences import sentence
from rainbowd.report.tail import Tail, parse_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rainbowd.report.journal import Event

POLL_SECONDS = 0.2
JOURNAL_MINUTES = 60
"""How far back the events of the journal go."""
SENTENCES_MAX = 100
USUAL_LINES, USUAL_COLUMNS = 24, 80
"""The size of a terminal that does not report one."""

_CUT = "..."
_STYLE_OR_CHARACTER = re.compile(r"\x1b\[[0-9;]*m|.", re.DOTALL)

# DEC private modes, as xterm's "Control Sequences" has them: 1049 the other screen, 25 the cursor, 7 wrapping.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(state_dir: Path, *, as_json: bool) -> int:
    """Show the status until interrupted.

    Args:
        state_dir: the state directory of the agent.
        as_json: print one JSON object a line, for each change.

    Returns:
        The exit status, 0.

    Raises:
        NotRunning: no agent is running; on a terminal, only at the beginning.
        RainbowdError: the status cannot be read.
    """
    read_status(state_dir)
    try:
        if as_json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
            _print_changes(state_dir, as_json=as_json)
        with _screen():
            _draw(state_dir)
    except KeyboardInterrupt:
        return 0


def _print_changes(state_dir: Path, *, as_json: bool) -> NoReturn:
    """Print the status after each change; as text, only if more than a counter changed."""
    shown = None
    while True:
        status = read_status(state_dir)
        seen = status if as_json else _without_counters(status)
        if seen != shown:
            print(json.dumps(status) if as_json else f"{status_text(status, state_dir)}\n", flush=True)
            shown = seen
        time.sleep(POLL_SECONDS)


def _without_counters(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without the fields that change all the time."""
    generations = status.get("generations")
    kept = {key: value for key, value in status.items() if key not in {"generations", "deploying"}}
    if isinstance(status.get("deploying"), dict):
        kept["step"] = status["deploying"].get("deploy"), status["deploying"].get("step")
    if isinstance(generations, list):
        kept["states"] = [(each.get("id"), each.get("state")) for each in generations if isinstance(each, dict)]
    return kept


def _draw(state_dir: Path) -> NoReturn:
    """Draw the status again whenever a line has changed."""
    shown: list[str] = []
    journal = _Journal(state_dir)
    while True:
        lines = _lines(state_dir, journal)
        if lines != shown:
            text = "\n".join(line + _END_OF_LINE for line in lines)
            print(_HOME + text + _BELOW, end="", flush=True)
            shown = lines
        time.sleep(POLL_SECONDS)


def _lines(state_dir: Path, journal: _Journal) -> list[str]:
    """Return the lines that fit on the screen; if no agent is running, the error and the journal."""
    paint = painter()
    try:
        lines = status_text(read_status(state_dir), state_dir).split("\n")
    except RainbowdError as error:
        lines = [paint(YELLOW, escape_control(error))]
    end = ["", paint(DIM, "Ctrl-C closes this screen; the agent keeps running")]
    height = os.get_terminal_size().lines or USUAL_LINES
    room = height - len(lines) - len(end) - 1
    events = journal.lines()[-room:] if room > 0 else []
    lines += [*([""] if events else []), *events, *end]
    columns = terminal_columns() or USUAL_COLUMNS
    return [cut(line, columns) for line in (lines if len(lines) <= height else [*lines[: height - 1], "..."])]


def cut(line: str, columns: int) -> str:
    """Return as much of ``line`` as fits into ``columns``, with its styles; ``...`` stands for the rest."""
    pieces = _STYLE_OR_CHARACTER.findall(line)
    room = columns - len(_CUT) if sum(len(piece) == 1 for piece in pieces) > columns else columns
    kept, is_cut = "", False
    for piece in pieces:
        if len(piece) > 1:
            kept += piece
        elif room > 0:
            kept, room = kept + piece, room - 1
        elif not is_cut:
            kept, is_cut = kept + _CUT, True
    return kept


class _Journal:
    """The latest events of the journal as sentences, oldest first."""

    def __init__(self, state_dir: Path) -> None:
        since = datetime.now(UTC) - timedelta(minutes=JOURNAL_MINUTES)
        self._tail = Tail(state_dir, parse_id(since.strftime("%Y-%m-%dT%H:%M:%SZ")))
        self._lines: deque[str] = deque(maxlen=SENTENCES_MAX)

    def lines(self) -> list[str]:
        """Return the sentences for the latest events, oldest first."""
        with contextlib.suppress(RainbowdError, OSError):  # unread lines are read later
            while lines := self._tail.read():
                texts = map(_line, (json.loads(line.text) for line in lines))
                self._lines.extend(filter(None, texts))
        return list(self._lines)


def _line(event: Event) -> str:
    text, paint = sentence(event), painter()
    if not text:
        return ""
    return f"{paint(DIM, _clock(str(event.get('at'))))}  {paint(_style(event), escape_control(text))}"


def _clock(at: str) -> str:
    """Return the time of day in UTC of a time in RFC 3339."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC).strftime("%H:%M:%SZ")
    except ValueError:
        return "--:--:--Z"


def _style(event: Event) -> str:
    """Return red or green for the outcome of a deploy, else the colour of the generation."""
    result, generation = RESULTS.get(str(event["event"])), event.get("generation")
    if event.get("superseded_by"):
        return YELLOW
    if result is not None:
        return RED if result == "failed" else GREEN
    return generation_style(generation) if isinstance(generation, int) else ""


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """Show the terminal's alternate screen, and leave it however the command ends."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _exit)
    print(_ENTER, end="", flush=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the terminal itself has gone
            print(_LEAVE, end="", flush=True)


def _exit(signum: int, _frame: object) -> None:
    sys.exit(128 + signum)
